/** Light, dark, or as the system says. */
export type Theme = "system" | "light" | "dark";

const KEY = "pixmo.theme";
const ORDER: readonly Theme[] = ["system", "light", "dark"];

class ThemeChoice {
  current = $state<Theme>("system");

  constructor() {
    const saved = localStorage.getItem(KEY);
    this.set(ORDER.find((theme) => theme === saved) ?? "system");
  }

  set(theme: Theme): void {
    this.current = theme;
    localStorage.setItem(KEY, theme);
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }

  next(): void {
    this.set(ORDER[(ORDER.indexOf(this.current) + 1) % ORDER.length]!);
  }
}

export const theme = new ThemeChoice();
