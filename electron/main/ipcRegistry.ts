/*
 * The one door for requests of the page. Electron's security tutorial, item 17: the sender of every message is checked.
 *
 * Order matters: the frame is read first, while it still exists (it may be null once the page navigates), then its origin,
 * then the size, then the schema. What leaves is { code, message }: no stack and no path goes to a page.
 */
import { contract, type ChannelName, type Envelope, type ReplyOf, type RequestOf } from '../ipc/contract.ts';
import { failureOf } from './failures.ts';
import { payloadBytes } from './payloadSize.ts';

export type Handlers = {
  readonly [Name in ChannelName]: (request: RequestOf<Name>) => ReplyOf<Name> | Promise<ReplyOf<Name>>;
};

export interface SenderFrame {
  readonly origin: string;
  readonly parent: unknown;
}

export interface InvokeEvent {
  readonly senderFrame: SenderFrame | null;
}

/** The part of electron's ipcMain that is used. */
export interface IpcPort {
  handle(channel: string, listener: (event: InvokeEvent, ...args: unknown[]) => Promise<unknown>): void;
}

type Report = (channel: string, error: unknown) => void;

const forbidden = {
  ok: false,
  error: { code: 'forbidden', message: 'This page may not ask the desktop for anything.' },
} as const;

function isTrustedSender(frame: SenderFrame | null, origin: string): boolean {
  return frame !== null && frame.parent === null && frame.origin === origin;
}

export function registerHandlers(ipc: IpcPort, origin: string, handlers: Handlers, report: Report): void {
  for (const name of Object.keys(contract) as ChannelName[]) register(ipc, origin, name, handlers[name], report);
}

function register<Name extends ChannelName>(
  ipc: IpcPort,
  origin: string,
  name: Name,
  handler: Handlers[Name],
  report: Report,
): void {
  const { request: schema, maxBytes } = contract[name];
  ipc.handle(name, async (event, ...args): Promise<Envelope<ReplyOf<Name>>> => {
    const frame = event.senderFrame;
    if (!isTrustedSender(frame, origin)) {
      report(name, new Error(`refused a sender at ${frame?.origin ?? 'no frame'}`));
      return forbidden;
    }
    if (args.length > 1 || payloadBytes(args[0], maxBytes) > maxBytes) {
      return { ok: false, error: { code: 'bad-request', message: `${name}: the request is too large.` } };
    }
    const parsed = schema.safeParse(args[0]);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      const place = issue === undefined || issue.path.length === 0 ? '' : ` at ${issue.path.join('.')}`;
      return { ok: false, error: { code: 'bad-request', message: `${name}: ${issue?.message ?? 'invalid'}${place}.` } };
    }
    try {
      return { ok: true, value: await handler(parsed.data as RequestOf<Name>) };
    } catch (error) {
      report(name, error);
      return { ok: false, error: failureOf(error) };
    }
  });
}
