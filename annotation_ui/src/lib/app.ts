/** The objects of which there is one per page. */
import { api } from "../api/client";
import { Locale } from "../i18n/locale.svelte";
import { Account } from "./account.svelte";
import { journal } from "./journal";
import { Outbox } from "./outbox.svelte";
import { Uploader } from "./uploader.svelte";

export { api, journal };
export const locale = new Locale();
export const uploader = new Uploader(api, journal);
export const outbox = new Outbox();
export const account = new Account(api, uploader, locale);
