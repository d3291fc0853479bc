import { en, type Messages } from "./en";

export const LANGUAGES = { en: "English", de: "Deutsch" } as const;
export type Language = keyof typeof LANGUAGES;

const KEY = "pixmo.locale";

export function known(code: string | null | undefined): Language | null {
  const language = code?.slice(0, 2).toLowerCase() ?? "";
  return language in LANGUAGES ? (language as Language) : null;
}

/** The language of the page: what the person chose, else what the browser asks for. */
export class Locale {
  code = $state<Language>("en");
  /** The catalogue; `locale.t.home.title` is a string, entries with numbers are functions. */
  t = $state.raw<Messages>(en);

  async start(): Promise<void> {
    await this.use(localStorage.getItem(KEY) ?? navigator.languages.map(known).find(Boolean) ?? "en");
  }

  async use(code: string): Promise<void> {
    const language = known(code) ?? "en";
    this.t = language === "de" ? (await import("./de")).de : en;
    this.code = language;
    document.documentElement.lang = language;
    localStorage.setItem(KEY, language);
  }

  number(value: number, digits = 0): string {
    return new Intl.NumberFormat(this.code, { maximumFractionDigits: digits }).format(value);
  }

  time(iso: string): string {
    return new Intl.DateTimeFormat(this.code, { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
  }

  /** "3 minutes ago" for the near past, in the person's language. */
  ago(iso: string, now = Date.now()): string {
    const seconds = Math.round((new Date(iso).getTime() - now) / 1000);
    const format = new Intl.RelativeTimeFormat(this.code, { numeric: "auto" });
    const steps: [number, Intl.RelativeTimeFormatUnit][] = [
      [60, "second"],
      [3_600, "minute"],
      [86_400, "hour"],
      [Infinity, "day"],
    ];
    const divisors: Record<string, number> = { second: 1, minute: 60, hour: 3_600, day: 86_400 };
    const unit = steps.find(([limit]) => Math.abs(seconds) < limit)![1];
    return format.format(Math.round(seconds / divisors[unit]!), unit);
  }

  /** "1:05" */
  clock(seconds: number): string {
    const whole = Math.floor(seconds);
    return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  }
}
