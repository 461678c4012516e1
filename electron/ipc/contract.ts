/*
 * The typed contract between the page and the main process: every channel with the schema of its request and the
 * type of its reply, and every event that main may send. A channel that is not in this map does not exist.
 *
 * Requests come from a page that may have been taken over, so each is parsed and its size capped; replies come from
 * main, which is trusted, so theirs is a type only.
 */
import { z } from 'zod';
import type { RunFrame } from '../../engine/lab/runTypes.ts';
import type {
  AppInfo,
  AppMessage,
  AppSettings,
  DocumentState,
  ExampleLab,
  InspectionOutcome,
  InspectionProgress,
  LabFailure,
  Outcome,
  RecentFile,
  RecoveryOffer,
  RunState,
} from './api.ts';
import { isCommandId, type CommandId } from './commands.ts';

export interface Channel<Request extends z.ZodType = z.ZodType, Reply = unknown> {
  readonly request: Request;
  /** A larger request is refused before it is parsed. */
  readonly maxBytes: number;
  /** Never present: carries the type of the reply. */
  readonly reply?: Reply;
}

function channel<Request extends z.ZodType>(request: Request, maxBytes = 4096) {
  return { replies: <Reply>(): Channel<Request, Reply> => ({ request, maxBytes }) };
}

const nothing = z.undefined();
const id = z.string().min(1).max(128);
const path = z.string().min(1).max(512);
/** In one edit. */
const MOST_CHANGES = 16;
/** A dropped file's path, made by the preload from a real File: the page cannot write one itself. */
const droppedPath = z.string().max(4096);
const paneSizes = z
  .record(z.string().min(1).max(64), z.number().min(0).max(10_000))
  .refine((panes) => Object.keys(panes).length <= 64, {
    message: 'at most 64 panes',
  });
const commandId = z
  .string()
  .max(64)
  .refine((value): value is CommandId => isCommandId(value), { message: 'no such command' });

export const contract = {
  'document.current': channel(nothing).replies<DocumentState>(),
  'document.openDialog': channel(nothing).replies<Outcome>(),
  'document.openDropped': channel(droppedPath, 16_384).replies<Outcome>(),
  'document.openRecent': channel(id).replies<Outcome>(),
  'document.openExample': channel(id).replies<Outcome>(),
  'document.recent': channel(nothing).replies<readonly RecentFile[]>(),
  'document.clearRecent': channel(nothing).replies<Outcome>(),
  'document.examples': channel(nothing).replies<readonly ExampleLab[]>(),
  'document.save': channel(nothing).replies<Outcome>(),
  'document.saveAs': channel(nothing).replies<Outcome>(),
  'document.edit': channel(
    z
      .array(z.strictObject({ path, value: z.json() }))
      .min(1)
      .max(MOST_CHANGES),
    4 << 20,
  ).replies<Outcome>(),
  'document.undo': channel(nothing).replies<Outcome>(),
  'document.redo': channel(nothing).replies<Outcome>(),
  'document.revert': channel(nothing).replies<Outcome>(),
  'document.recovery': channel(nothing).replies<readonly RecoveryOffer[]>(),
  'document.restore': channel(id).replies<Outcome>(),
  'document.openSaved': channel(id).replies<Outcome>(),
  'document.discardRecovery': channel(id).replies<Outcome>(),

  'runs.start': channel(z.array(id).max(64), 16_384).replies<Outcome>(),
  'runs.pause': channel(id).replies<Outcome>(),
  'runs.resume': channel(id).replies<Outcome>(),
  'runs.cancel': channel(id).replies<Outcome>(),
  'runs.frame': channel(id).replies<RunFrame | null>(),
  'runs.inspect': channel(
    z.strictObject({
      comparisonId: id,
      at: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
      walk: z.strictObject({ iova: z.string().regex(/^0x[0-9a-f]{1,16}$/), write: z.boolean() }).nullable(),
      device: id.exactOptional(),
    }),
  ).replies<InspectionOutcome>(),
  'runs.endInspection': channel(nothing).replies<Outcome>(),
  'runs.commandLine': channel(nothing).replies<string>(),

  'exports.chart': channel(
    z.strictObject({
      chart: id,
      format: z.enum(['png', 'svg', 'csv']),
      scale: z.union([z.literal(1), z.literal(2)]).exactOptional(),
    }),
  ).replies<Outcome>(),
  'exports.all': channel(nothing).replies<Outcome>(),

  'app.info': channel(nothing).replies<AppInfo>(),
  'app.settings': channel(nothing).replies<AppSettings>(),
  'app.setTheme': channel(z.enum(['system', 'dark', 'light'])).replies<Outcome>(),
  'app.setPanes': channel(paneSizes, 16_384).replies<Outcome>(),
  'app.runCommand': channel(commandId).replies<Outcome>(),
  'app.reportError': channel(z.string().max(8192), 32_768).replies<Outcome>(),
} as const satisfies Record<string, Channel>;

export type Contract = typeof contract;
export type ChannelName = keyof Contract;
export type RequestOf<Name extends ChannelName> = z.infer<Contract[Name]['request']>;
export type ReplyOf<Name extends ChannelName> = Contract[Name] extends Channel<z.ZodType, infer Reply> ? Reply : never;

/** What crosses the process border: electron's own rejection would carry a stack and lose the code. */
export type Envelope<Reply> =
  { readonly ok: true; readonly value: Reply } | { readonly ok: false; readonly error: LabFailure };

/** Events that main sends, with their arguments. Frames go over a MessagePort of their own. */
export interface EventArguments {
  'event.document': [state: DocumentState];
  'event.runState': [session: number, state: RunState];
  'event.inspection': [progress: InspectionProgress];
  'event.settings': [settings: AppSettings];
  'event.command': [id: CommandId];
  'event.message': [message: AppMessage];
}
export type EventName = keyof EventArguments;

/** On the frame port: main sends a frame, and the page answers with the comparison id when it has used it. */
export interface FrameDelivery {
  readonly session: number;
  readonly frame: RunFrame;
}
export interface FrameCredit {
  readonly credit: string;
}
