/*
 * The bridge between the sandboxed page and main: one function for each channel of the contract, and subscriptions that give
 * their own end. Neither ipcRenderer nor an event object ever reaches the page. Electron's security tutorial, items 3 and 20.
 */
import { contextBridge, ipcRenderer, webUtils } from 'electron';
import type { AppMessage, LabApi, Outcome, Unsubscribe } from '../ipc/api.ts';
import type {
  ChannelName,
  Envelope,
  EventArguments,
  EventName,
  FrameCredit,
  FrameDelivery,
  ReplyOf,
  RequestOf,
} from '../ipc/contract.ts';
import { framePortChannel } from '../ipc/framePort.ts';

async function ask<Name extends ChannelName>(name: Name, request: RequestOf<Name>): Promise<ReplyOf<Name>> {
  const envelope = (await ipcRenderer.invoke(name, request)) as Envelope<ReplyOf<Name>>;
  if (envelope.ok) return envelope.value;
  throw new Error(envelope.error.message);
}

type ActionName = {
  [Name in ChannelName]: [ReplyOf<Name>] extends [Outcome] ? Name : never;
}[ChannelName];

/** For actions: what main refuses is an outcome like any other. */
async function act<Name extends ActionName>(name: Name, request: RequestOf<Name>): Promise<Outcome> {
  const envelope = (await ipcRenderer.invoke(name, request)) as Envelope<Outcome>;
  return envelope.ok ? envelope.value : { status: 'failed', error: envelope.error };
}

function subscribe<Name extends EventName>(name: Name, handler: (...args: EventArguments[Name]) => void): Unsubscribe {
  const listener = (_event: unknown, ...args: unknown[]): void => handler(...(args as EventArguments[Name]));
  ipcRenderer.on(name, listener);
  return () => ipcRenderer.off(name, listener);
}

/** Messages that came before the page listened: what failed at the start must still be read. */
const waitingMessages: AppMessage[] = [];
const keepMessage = (_event: unknown, message: AppMessage): number => waitingMessages.push(message);
ipcRenderer.on('event.message', keepMessage);

function subscribeToMessages(handler: (message: AppMessage) => void): Unsubscribe {
  ipcRenderer.off('event.message', keepMessage);
  for (const message of waitingMessages.splice(0)) handler(message);
  return subscribe('event.message', handler);
}

type FrameHandler = Parameters<LabApi['events']['onRunFrame']>[0];
const frameHandlers = new Set<FrameHandler>();

ipcRenderer.on(framePortChannel, (event) => {
  const [port] = event.ports;
  if (port === undefined) return;
  port.onmessage = ({ data }: MessageEvent<FrameDelivery>) => {
    try {
      for (const handler of frameHandlers) handler(data.session, data.frame);
    } finally {
      // Credit goes back only now, on the page's own thread: a busy page asks for less.
      const credit: FrameCredit = { credit: data.frame.comparisonId };
      port.postMessage(credit);
    }
  };
});

const api: LabApi = {
  document: {
    current: () => ask('document.current', undefined),
    openDialog: () => act('document.openDialog', undefined),
    openDropped: (file) => act('document.openDropped', webUtils.getPathForFile(file)),
    openRecent: (id) => act('document.openRecent', id),
    openExample: (id) => act('document.openExample', id),
    recent: () => ask('document.recent', undefined),
    clearRecent: () => act('document.clearRecent', undefined),
    examples: () => ask('document.examples', undefined),
    save: () => act('document.save', undefined),
    saveAs: () => act('document.saveAs', undefined),
    edit: (...changes) => act('document.edit', changes as RequestOf<'document.edit'>),
    undo: () => act('document.undo', undefined),
    redo: () => act('document.redo', undefined),
    revert: () => act('document.revert', undefined),
    recovery: () => ask('document.recovery', undefined),
    restore: (id) => act('document.restore', id),
    openSaved: (id) => act('document.openSaved', id),
    discardRecovery: (id) => act('document.discardRecovery', id),
  },
  runs: {
    start: (comparisonIds) => act('runs.start', [...comparisonIds]),
    pause: (comparisonId) => act('runs.pause', comparisonId),
    resume: (comparisonId) => act('runs.resume', comparisonId),
    cancel: (comparisonId) => act('runs.cancel', comparisonId),
    frame: (comparisonId) => ask('runs.frame', comparisonId),
    inspect: (request) => ask('runs.inspect', request),
    endInspection: () => act('runs.endInspection', undefined),
    commandLine: () => ask('runs.commandLine', undefined),
  },
  exports: {
    chart: (request) => act('exports.chart', request),
    all: () => act('exports.all', undefined),
  },
  app: {
    info: () => ask('app.info', undefined),
    settings: () => ask('app.settings', undefined),
    setTheme: (theme) => act('app.setTheme', theme),
    setPanes: (panes) => act('app.setPanes', { ...panes }),
    runCommand: (id) => act('app.runCommand', id),
    reportError: (message) => act('app.reportError', message.slice(0, 8192)),
  },
  events: {
    onDocument: (handler) => subscribe('event.document', handler),
    onRunState: (handler) => subscribe('event.runState', handler),
    onRunFrame: (handler) => {
      frameHandlers.add(handler);
      return () => frameHandlers.delete(handler);
    },
    onInspection: (handler) => subscribe('event.inspection', handler),
    onSettings: (handler) => subscribe('event.settings', handler),
    onCommand: (handler) => subscribe('event.command', handler),
    onMessage: subscribeToMessages,
  },
};

contextBridge.exposeInMainWorld('lab', api);
