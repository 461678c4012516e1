/*
 * Frames from main to the page over a MessagePort, with credit: a page that has not answered for a run's last frame gets no
 * other of that run, and of what came meanwhile only the newest is kept. A page that lags gets fewer frames, never a queue.
 */
import type { RunFrame } from '../../engine/lab/runTypes.ts';
import type { FrameDelivery } from '../ipc/contract.ts';

/** What is used of a MessagePortMain. */
export interface FramePort {
  postMessage(message: FrameDelivery): void;
  on(event: 'message', listener: (event: { readonly data: unknown }) => void): unknown;
  start(): void;
  close(): void;
}

export class FrameChannel {
  private port: FramePort | null = null;
  private readonly unanswered = new Set<string>();
  private readonly waiting = new Map<string, FrameDelivery>();

  /** A page was loaded: what the one before it owed is forgotten. */
  attach(port: FramePort): void {
    this.detach();
    this.port = port;
    port.on('message', ({ data }) => {
      if (this.port === port) this.credit(data);
    });
    port.start();
  }

  detach(): void {
    this.port?.close();
    this.port = null;
    this.clear();
  }

  /** Another document was opened. */
  clear(): void {
    this.unanswered.clear();
    this.waiting.clear();
  }

  send(session: number, frame: RunFrame): void {
    if (this.port === null) return;
    const delivery: FrameDelivery = { session, frame };
    if (this.unanswered.has(frame.comparisonId)) {
      this.waiting.set(frame.comparisonId, delivery);
      return;
    }
    this.unanswered.add(frame.comparisonId);
    this.port.postMessage(delivery);
  }

  private credit(data: unknown): void {
    // The page's answer is input like any other.
    if (typeof data !== 'object' || data === null || !('credit' in data) || typeof data.credit !== 'string') return;
    if (!this.unanswered.delete(data.credit)) return;
    const next = this.waiting.get(data.credit);
    if (next === undefined) return;
    this.waiting.delete(data.credit);
    this.send(next.session, next.frame);
  }
}
