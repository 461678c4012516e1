/**
 * The Page Request Interface of a function (PCI Express Base Specification 10.4, 10.5.2): page requests go upstream as messages, in
 * groups that are answered as one, and never more are outstanding than software has allotted (Outstanding Page Request Allocation).
 * What has no allotment or no free group index waits in order. A response of failure closes the interface until software opens it
 * again; a response to a group that nobody waits for is noted (UPRGI).
 * Leaves out: stop markers, requests without a wish for a response.
 */
import type { EventHandler, EventQueue } from '../time/eventQueue.ts';
import { picoseconds, type Picoseconds } from '../time/picoseconds.ts';
import { codeOfResponse, groupOfResponse, PAGE_REQUEST_GROUPS, PageRequest, RESPONSE_FAILURE } from './atsMessages.ts';
import { REQUEST_OVERHEAD_BYTES } from './link.ts';
import type { Way } from './way.ts';

/** The root complex's side: a message, in two words, has arrived. */
export interface PageRequestTarget {
  pageRequest(sourceId: number, pasid: number, words: Uint32Array): void;
}

export interface PageRequestInterfaceOptions {
  readonly sourceId: number;
  readonly events: EventQueue;
  readonly way: Way;
  readonly rootComplex: Picoseconds;
  readonly target: PageRequestTarget;
  /** Page requests that may be outstanding. */
  readonly allocation: number;
}

interface Group {
  readonly pasid: number;
  readonly firstPage: number;
  readonly pages: number;
  readonly access: number;
  readonly done: (code: number) => void;
}

const MESSAGE_ARRIVES = 0;
const RESPONSE_ARRIVES = 1;

interface Message {
  readonly pasid: number;
  readonly words: Uint32Array;
}

export class PageRequestInterface implements EventHandler {
  readonly sourceId: number;
  /** RF and UPRGI of the status register. */
  responseFailure = false;
  unexpectedGroup = false;
  /** Messages sent. */
  requests = 0;
  private readonly options: PageRequestInterfaceOptions;
  private readonly outstanding: (Group | null)[] = new Array<Group | null>(PAGE_REQUEST_GROUPS).fill(null);
  private readonly waiting: Group[] = [];
  private readonly underWay = new Map<number, Message>();
  private readonly message = new PageRequest();
  private nextMessage = 0;
  private nextGroup = 0;
  private allotted = 0;

  constructor(options: PageRequestInterfaceOptions) {
    this.options = options;
    this.sourceId = options.sourceId;
  }

  /** Page requests without response, and groups that have not been sent. */
  get inUse(): number {
    return this.allotted;
  }

  get waitingGroups(): number {
    return this.waiting.length;
  }

  /** Asks for pages as one group; `done` is told the response code once. */
  request(pasid: number, firstPage: number, pages: number, access: number, done: (code: number) => void): void {
    const { allocation } = this.options;
    if (pages < 1 || pages > allocation) {
      throw new Error(`a group of ${String(pages)} page requests, where ${String(allocation)} are allotted`);
    }
    if (this.responseFailure) {
      done(RESPONSE_FAILURE);
      return;
    }
    this.waiting.push({ pasid, firstPage, pages, access, done });
    this.sendWaiting();
  }

  /** The root complex sends a response, which leaves it at `at`. */
  respond(word: number, at: Picoseconds): void {
    const { way, rootComplex, events } = this.options;
    const arrives = at + rootComplex + way.downTime(REQUEST_OVERHEAD_BYTES);
    events.schedule(picoseconds(arrives), this, RESPONSE_ARRIVES, word);
  }

  /** Software opens the interface again. */
  enable(): void {
    this.responseFailure = false;
    this.unexpectedGroup = false;
  }

  handleEvent(kind: number, argument: number): void {
    if (kind === RESPONSE_ARRIVES) {
      this.responseArrives(groupOfResponse(argument), codeOfResponse(argument));
      return;
    }
    const { pasid, words } = this.underWay.get(argument)!;
    this.underWay.delete(argument);
    this.options.target.pageRequest(this.sourceId, pasid, words);
  }

  private responseArrives(index: number, code: number): void {
    const group = this.outstanding[index];
    if (group === null || group === undefined) {
      this.unexpectedGroup = true;
      return;
    }
    this.outstanding[index] = null;
    this.allotted -= group.pages;
    if (code === RESPONSE_FAILURE) {
      this.responseFailure = true;
      for (const never of this.waiting.splice(0)) never.done(RESPONSE_FAILURE);
    }
    group.done(code);
    this.sendWaiting();
  }

  private sendWaiting(): void {
    for (let group = this.waiting[0]; group !== undefined; group = this.waiting[0]) {
      const index = this.freeGroup();
      if (index === -1 || this.allotted + group.pages > this.options.allocation) return;
      this.waiting.shift();
      this.outstanding[index] = group;
      this.allotted += group.pages;
      this.send(index, group);
    }
  }

  private freeGroup(): number {
    const { outstanding, nextGroup } = this;
    for (let tried = 0; tried < PAGE_REQUEST_GROUPS; tried += 1) {
      const index = (nextGroup + tried) % PAGE_REQUEST_GROUPS;
      if (outstanding[index] !== null) continue;
      this.nextGroup = (index + 1) % PAGE_REQUEST_GROUPS;
      return index;
    }
    return -1;
  }

  private send(index: number, { pasid, firstPage, pages, access }: Group): void {
    const { way, rootComplex, events } = this.options;
    const { message } = this;
    message.group = index;
    message.access = access;
    for (let offset = 0; offset < pages; offset += 1) {
      message.page = firstPage + offset;
      message.last = offset === pages - 1;
      const words = new Uint32Array(2);
      message.encode(words, 0);
      const arrives = way.messageUp(REQUEST_OVERHEAD_BYTES, events.now) + rootComplex;
      this.underWay.set(this.nextMessage, { pasid, words });
      this.requests += 1;
      events.schedule(picoseconds(arrives), this, MESSAGE_ARRIVES, this.nextMessage);
      this.nextMessage += 1;
    }
  }
}
