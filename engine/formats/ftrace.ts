/**
 * The text of a kernel trace (Linux Documentation/trace/ftrace.rst) as plain records with their line numbers. The prefix of
 * a line is `%16s-%-7d [%03d] FLAGS SECONDS.MICROS: EVENT: TEXT`; the third flag tells in which context the line was written.
 * Input may be hostile: lengths are bounded, and whatever is not a trace ends in a sentence that names file and line.
 * Leaves out: the binary format (trace.dat), and the latency, graph and raw layouts.
 */
import { LabError } from '../time/labError.ts';
import { type FtraceEvent, readFtraceEvent } from './ftraceEvents.ts';

/** Where on a CPU a line was written: a process, a softirq, or a hardware interrupt. Each nests in the one before. */
export type FtraceContext = 'task' | 'softirq' | 'hardirq';

export interface FtraceRecord {
  /** From 1. */
  readonly line: number;
  readonly pid: number;
  readonly cpu: number;
  readonly context: FtraceContext;
  readonly event: FtraceEvent;
}

/** Longer than any event with 128 scatterlist entries, which is where the kernel cuts them. */
const LONGEST_LINE = 16_384;
const HIGHEST_CPU = 1023;

// The process name may hold blanks and dashes, so the pattern is anchored on what follows it.
const PREFIX =
  /^\s*\S.{0,64}?-(\d{1,10})\s+(?:\(\s*[\d-]+\)\s+)?\[(\d{1,4})\]\s+(\S{2,8})\s+\d+\.\d+: ([A-Za-z0-9_]+): ?/;
const HEADER_COUNT = /^# entries-in-buffer\/entries-written: (\d+)\/(\d+)/;
const LOST = /^CPU:\d+ \[LOST (\d+) EVENTS\]/;

const CAPTURE_WITH_FTRACE = 'Give the text of /sys/kernel/tracing/trace, as it was or gzip’d.';

function contextOf(flags: string): FtraceContext {
  // irqs-off, need-resched, hardirq/softirq, preempt-depth, migrate-disable: `H` is a hardirq inside a softirq.
  switch (flags.charAt(2)) {
    case 'h':
    case 'H':
    case 'z':
    case 'Z':
      return 'hardirq';
    case 's':
      return 'softirq';
    default:
      return 'task';
  }
}

function readLine(name: string, text: string, line: number): FtraceRecord {
  const prefix = PREFIX.exec(text);
  if (prefix === null) {
    throw new LabError(`${name}:${line}`, 'this is not a line of a kernel trace.', CAPTURE_WITH_FTRACE);
  }
  const [whole, pid = '', cpu = '', flags = '', event = ''] = prefix;
  const read = readFtraceEvent(event, text.slice(whole.length));
  if (read === null) {
    throw new LabError(
      `${name}:${line}`,
      `the event ${event} is cut short or not as this kernel prints it.`,
      'If the file was cut off, record or copy it again.',
    );
  }
  if (Number(cpu) > HIGHEST_CPU) {
    throw new LabError(
      `${name}:${line}`,
      `CPU ${cpu} is beyond the ${HIGHEST_CPU + 1} CPUs that are read.`,
      CAPTURE_WITH_FTRACE,
    );
  }
  return { line, pid: Number(pid), cpu: Number(cpu), context: contextOf(flags), event: read };
}

/** The records of one trace, in the order of the file. `name` is what error messages call it. */
export function* readFtrace(name: string, text: string): Generator<FtraceRecord, void, undefined> {
  let promised = -1;
  let found = 0;
  let line = 0;
  let start = 0;
  while (start < text.length) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    line += 1;
    if (end - start > LONGEST_LINE) {
      throw new LabError(`${name}:${line}`, `the line is longer than ${LONGEST_LINE} characters.`, CAPTURE_WITH_FTRACE);
    }
    const content = text.slice(start, end);
    start = end + 1;
    if (content.charCodeAt(0) === 0x23 /* # */) {
      const count = HEADER_COUNT.exec(content);
      if (count !== null) promised = Number(count[1]);
      continue;
    }
    if (content.trim() === '') continue;
    const lost = LOST.exec(content);
    if (lost !== null) {
      throw new LabError(
        `${name}:${line}`,
        `the kernel lost ${lost[1] ?? 'some'} events here, so requests cannot be told apart any more.`,
        'Record again with a larger buffer (buffer_size_kb).',
      );
    }
    found += 1;
    yield readLine(name, content, line);
  }
  if (found < promised) {
    throw new LabError(
      `${name}:${line}`,
      `the recording is cut off: its header promises ${promised} events, and ${found} are here.`,
      'Record or copy it again.',
    );
  }
}
