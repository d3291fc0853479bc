type Forms = { other: string } & Partial<Record<Intl.LDMLPluralRule, string>>;

/** Picks the form that a language uses for a number and puts the number, written its way, where `#` stands. */
export function plurals(language: string): (count: number, forms: Forms) => string {
  const rules = new Intl.PluralRules(language);
  const format = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
  return (count, forms) => (forms[rules.select(Math.round(count))] ?? forms.other).replace("#", format.format(count));
}
