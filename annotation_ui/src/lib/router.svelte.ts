/** Five pages do not need a router library: the History API and one class. */

export type Route =
  | { page: "home" }
  | { page: "join"; token: string }
  | { page: "login" }
  | { page: "task"; campaign: string }
  | { page: "admin" }
  | { page: "unknown" };

export function parse(pathname: string, hash: string): Route {
  const parts = pathname.split("/").filter(Boolean);
  if (parts.length === 0) return { page: "home" };
  if (parts.length === 1 && parts[0] === "join") return { page: "join", token: hash.replace(/^#/, "") };
  if (parts.length === 1 && parts[0] === "login") return { page: "login" };
  if (parts.length === 1 && parts[0] === "admin") return { page: "admin" };
  if (parts.length === 2 && parts[0] === "c") return { page: "task", campaign: decodeURIComponent(parts[1]!) };
  return { page: "unknown" };
}

export class Router {
  route = $state.raw<Route>(parse(location.pathname, location.hash));
  /** Asked before a page is left; false keeps the person there. */
  guard: (() => Promise<boolean>) | null = null;

  private readonly read = () => {
    this.route = parse(location.pathname, location.hash);
  };

  /** Follows the address bar and the links of the page. Returns how to stop. */
  start(): () => void {
    const popped = async () => {
      if (this.guard && !(await this.guard())) history.forward();
      else this.read();
    };
    const clicked = (event: MouseEvent) => {
      const link = event.target instanceof Element ? event.target.closest("a") : null;
      if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      if (link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
      if (link.hash && link.pathname === location.pathname) return;
      event.preventDefault();
      void this.go(link.pathname + link.hash);
    };
    addEventListener("popstate", popped);
    addEventListener("hashchange", this.read);
    document.addEventListener("click", clicked);
    return () => {
      removeEventListener("popstate", popped);
      removeEventListener("hashchange", this.read);
      document.removeEventListener("click", clicked);
    };
  }

  async go(path: string, { replace = false } = {}): Promise<void> {
    if (this.guard && !(await this.guard())) return;
    if (replace) history.replaceState(null, "", path);
    else history.pushState(null, "", path);
    this.read();
    scrollTo(0, 0);
  }
}

export const router = new Router();
