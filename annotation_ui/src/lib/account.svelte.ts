/** Who is signed in, and what starts and ends with that. */
import { hasCode, type Api } from "../api/client";
import type { Me } from "../api/types";
import type { Locale } from "../i18n/locale.svelte";
import { untilAnswered } from "./retry";
import type { Uploader } from "./uploader.svelte";

export class Account {
  /** undefined until the server has answered once. */
  me = $state.raw<Me | null | undefined>(undefined);
  failure = $state.raw<unknown>(null);
  /** The server does not answer; it is being asked again. */
  waiting = $state(false);

  user = $derived(this.me?.user ?? null);
  mayAdminister = $derived(this.user?.role === "admin" || this.user?.role === "reviewer");

  constructor(
    private readonly api: Api,
    private readonly uploader: Uploader,
    private readonly locale: Locale,
  ) {
    api.onSignedOut = () => this.forget();
  }

  async load(): Promise<void> {
    this.failure = null;
    try {
      this.enter(await untilAnswered(() => this.api.me(), { waiting: (waiting) => (this.waiting = waiting) }));
    } catch (error) {
      if (hasCode(error, "not_signed_in")) this.me = null;
      else this.failure = error;
    }
  }

  enter(me: Me): void {
    const another = this.user?.id !== me.user.id;
    this.me = me;
    void this.locale.use(me.user.locale);
    if (another) {
      this.uploader.stop();
      void this.uploader.recover(me.user.id);
      // Without this the browser may clear unsent takes when the disk runs full.
      void navigator.storage?.persist?.();
    }
  }

  async leave(): Promise<void> {
    await this.api.logout();
    this.forget();
  }

  async speak(locale: string): Promise<void> {
    await this.locale.use(locale);
    if (this.user) this.me = await this.api.updateMe({ locale });
  }

  async consent(): Promise<void> {
    if (this.me) this.me = await this.api.giveConsent(this.me.consent.version);
  }

  private forget(): void {
    this.uploader.stop();
    this.me = null;
  }
}
