/**
 * A result inside a lab file: runs/ID/run.json (identity, summary, counters), histograms.json, log.json and one
 * series/COLUMN.f64 a column of little-endian doubles, and checker.json where the lab checks the calls of the DMA API. Read back from a stranger's file, so every number is checked; what
 * does not hold together is refused by name.
 */
import { z } from 'zod';
import { MISUSE_TITLES, type MisuseKind } from '../dma/checker/misuse.ts';
import { LabError } from '../time/labError.ts';
import type { SerializedHistogram } from '../metrics/histogram.ts';
import { SERIES_COLUMNS, type SeriesColumn } from '../metrics/seriesColumns.ts';
import { canonicalJson } from './canonicalJson.ts';
import { parseHostileJson } from './hostileJson.ts';
import type { RunResult } from './runTypes.ts';

const finite = z.number();
/** NaN is written as null. */
const measured = z
  .number()
  .nullable()
  .transform((value) => value ?? Number.NaN);
const text = z.string().max(2_000);

const histogramSchema = z.object({
  subBucketBits: z.number().int().min(0).max(12),
  unitBits: z.number().int().min(0).max(40),
  rangeBits: z.number().int().min(1).max(53),
  count: finite,
  sum: finite,
  min: finite,
  max: finite,
  buckets: z.array(z.tuple([z.number().int().min(0).max(250_000), finite])).max(50_000),
});

const histogramsSchema = z.object({
  mapLatency: histogramSchema,
  unmapLatency: histogramSchema,
  ioLatency: histogramSchema,
});

const logSchema = z
  .array(
    z.object({
      at: finite,
      severity: z.enum(['info', 'warning', 'error']),
      source: text,
      message: text,
      misuse: z.number().int().min(1).max(10_000).exactOptional(),
    }),
  )
  .max(10_000);

const misuseKind = z.enum(Object.keys(MISUSE_TITLES) as [MisuseKind, ...MisuseKind[]]);

const checkerSchema = z.object({
  mode: z.enum(['report', 'stop']),
  errorCount: finite,
  byKind: z.partialRecord(misuseKind, finite),
  totalEntries: finite,
  minFreeEntries: finite,
  stopped: z.boolean(),
  misuses: z
    .array(
      z.object({
        kind: misuseKind,
        message: text,
        driver: text,
        device: text,
        at: finite,
        cpu: finite,
        call: text,
        history: z.array(z.object({ at: finite, cpu: finite, text })).max(100),
        omitted: finite,
      }),
    )
    .max(1_000),
});

const runSchema = z.object({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  comparisonId: text,
  label: text,
  engineVersion: text,
  seed: finite,
  presets: text.exactOptional(),
  partial: z.boolean(),
  progress: z.object({ runId: text, virtualTimePs: finite, completed: finite, total: finite, events: finite }),
  summary: z.object({
    rows: z
      .array(
        z.object({
          key: text,
          label: text,
          unit: z.enum(['count', 'bytes', 'ps', 'bytes/s']),
          value: measured,
          help: text,
        }),
      )
      .max(200),
  }),
  counters: z.record(z.string().max(100), finite),
  series: z.object({ windowPs: z.number().int().min(1), count: z.number().int().min(0).max(65_536), endPs: finite }),
});

export function runEntries(run: RunResult): [string, Uint8Array][] {
  const folder = `runs/${run.id}`;
  const encoder = new TextEncoder();
  const { series, histograms, log, checker, ...rest } = run;
  const { columns, ...extent } = series;
  return [
    [`${folder}/run.json`, encoder.encode(canonicalJson({ ...rest, series: extent }))],
    [`${folder}/histograms.json`, encoder.encode(canonicalJson(histograms))],
    [`${folder}/log.json`, encoder.encode(canonicalJson(log))],
    ...(checker === undefined
      ? []
      : [[`${folder}/checker.json`, encoder.encode(canonicalJson(checker))] satisfies [string, Uint8Array]]),
    ...SERIES_COLUMNS.map((column): [string, Uint8Array] => [
      `${folder}/series/${column}.f64`,
      toBytes(columns[column]),
    ]),
  ];
}

/** Takes the runs that this version can read out of `entries`. */
export function readRunEntries(entries: Map<string, Uint8Array>, where: string): Map<string, RunResult> {
  const ids = [...entries.keys()].flatMap((name) => /^runs\/([0-9a-f]{16})\/run\.json$/.exec(name)?.[1] ?? []).sort();
  return new Map(ids.map((id) => [id, readRun(id, entries, where)]));
}

function readRun(id: string, entries: Map<string, Uint8Array>, where: string): RunResult {
  const take = (name: string): Uint8Array => {
    const bytes = entries.get(`runs/${id}/${name}`);
    if (!bytes)
      throw new LabError(
        `${where}: runs/${id}/${name}`,
        'it is missing.',
        'Remove the run, or take a whole copy of the file.',
      );
    entries.delete(`runs/${id}/${name}`);
    return bytes;
  };
  const parse = <Schema extends z.ZodType>(name: string, schema: Schema): z.output<Schema> => {
    const place = `${where}: runs/${id}/${name}`;
    const parsed = schema.safeParse(parseHostileJson(new TextDecoder().decode(take(name)), place));
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    throw new LabError(
      `${place}: ${issue?.path.join('.') ?? ''}`,
      `${issue?.message ?? 'not as expected'}.`,
      'Remove the run, or take a whole copy of the file.',
    );
  };
  const run = parse('run.json', runSchema);
  if (run.id !== id)
    throw new LabError(
      `${where}: runs/${id}/run.json: id`,
      `the run calls itself ${run.id}.`,
      'Take a whole copy of the file.',
    );
  const histograms: Record<'mapLatency' | 'unmapLatency' | 'ioLatency', SerializedHistogram> = parse(
    'histograms.json',
    histogramsSchema,
  );
  const log = parse('log.json', logSchema);
  const columns = Object.fromEntries(
    SERIES_COLUMNS.map((column) => {
      const values = fromBytes(take(`series/${column}.f64`));
      if (values.length !== run.series.count)
        throw new LabError(
          `${where}: runs/${id}/series/${column}.f64`,
          `it has ${values.length} values, not ${run.series.count}.`,
          'Take a whole copy of the file.',
        );
      return [column, values];
    }),
  ) as Record<SeriesColumn, Float64Array>;
  const result = { ...run, series: { ...run.series, columns }, histograms, log };
  return entries.has(`runs/${id}/checker.json`) ? { ...result, checker: parse('checker.json', checkerSchema) } : result;
}

function toBytes(values: Float64Array): Uint8Array {
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  // One NaN among the many bit patterns of NaN, so that equal series are equal bytes.
  values.forEach((value, index) => {
    view.setFloat64(index * 8, Number.isNaN(value) ? Number.NaN : value, true);
  });
  return bytes;
}

function fromBytes(bytes: Uint8Array): Float64Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float64Array.from({ length: Math.floor(bytes.length / 8) }, (_, index) => view.getFloat64(index * 8, true));
}
