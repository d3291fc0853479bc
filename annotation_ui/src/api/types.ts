/** Short names for the schemas of the server's OpenAPI document. */
import type { components } from "./schema";

type Schemas = components["schemas"];

export type Me = Schemas["Me"];
export type Role = Schemas["Role"];
export type InviteDetails = Schemas["InviteDetails"];
export type Campaign = Schemas["CampaignSummary"];
export type CampaignDetails = Schemas["CampaignDetail"];
export type Question = Schemas["Question"];
export type TaskImage = Schemas["ImageView"];
export type LastSubmission = Schemas["LastSubmission"];
export type AdminStatus = Schemas["Status"];
export type ParkedJob = Schemas["ParkedJob"];
export type Invite = Schemas["Invite"];
export type SkipReason = Schemas["SkipRequest"]["reason"];

export type AcceptInvite = Schemas["AcceptInvite"];
export type CreateInvite = Schemas["CreateInvite"];
export type StartTake = Schemas["StartTake"];
export type FinishTake = Schemas["FinishTake"];
export type Submission = Schemas["SubmitRequest"];
export type Skip = Schemas["SkipRequest"];

// Where the document leaves an object open, this says what is in it.

export type Recording = Omit<Schemas["TakeView"], "gate" | "transcript"> & {
  gate: { flags: string[] } | null;
  transcript: Transcript | null;
};
export type Transcript = Omit<Schemas["TranscriptView"], "words"> & { words: Word[] };
export type Assignment = Omit<Schemas["AssignmentView"], "recording"> & { recording: Recording | null };
export type Caption = Omit<Schemas["CaptionView"], "flags"> & { flags: { kind: string; token?: string | null }[] };

/** Times are seconds into the take; null where the machine could not tell. */
export interface Word {
  text: string;
  start: number | null;
  end: number | null;
  confidence: number | null;
}
