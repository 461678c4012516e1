/**
 * What `lab run --out DIR` and "export all" write: the lab with its runs, summary.csv, series/RUN.csv and each chart as SVG
 * and PNG. Names come from the lab and its columns, contents from the results alone.
 */
import { mkdir, open, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LabError } from '../time/labError.ts';
import { atomicWrite } from './atomicWrite.ts';
import { CHART_IDS, type ChartId, type ChartRun } from './chartOptions.ts';
import { renderChartSvg, renderPng } from './charts.ts';
import { FILE_EXTENSION, encodeLabFile, type LabFile } from './container.ts';
import { chartCsv, seriesCsv, summaryCsv } from './csv.ts';
import type { RunResult } from './runTypes.ts';
import type { LabDocument } from './schema.ts';

export interface ExportOptions {
  /** Base name of the lab file, without extension. */
  readonly name: string;
  /** The fonts of fixtures/fonts. */
  readonly fontFiles: readonly string[];
}

/** The runs of a lab as charts take them, in the order of its comparison. */
export function chartRuns(lab: LabDocument, results: readonly RunResult[]): ChartRun[] {
  return lab.comparison.flatMap((comparison, slot) => {
    const result = results.find((candidate) => candidate.comparisonId === comparison.id);
    return result ? [chartRun(result, slot)] : [];
  });
}

export function chartRun(result: RunResult, slot: number): ChartRun {
  const { id, comparisonId, label, seed, presets, partial, series } = result;
  const run = { runId: id, comparisonId, label, seed, partial, series, slot };
  return presets === undefined ? run : { ...run, presets };
}

/** One chart as a file. */
export async function exportChart(
  chart: ChartId,
  runs: readonly ChartRun[],
  format: 'svg' | 'png' | 'csv',
  fontFiles: readonly string[],
  scale: 1 | 2 = 1,
): Promise<string | Uint8Array> {
  if (format === 'csv') return chartCsv(chart, runs);
  const svg = await renderChartSvg(chart, runs);
  return format === 'svg' ? svg : renderPng(svg, fontFiles, scale);
}

/**
 * Makes the folder and tries it, so that a run of hours does not end at a closed door, and refuses to write over the lab that
 * the runs come from: whoever opened it finds it as it was.
 */
export async function prepareExportFolder(folder: string, name: string, input: string): Promise<void> {
  const target = join(folder, `${name}${FILE_EXTENSION}`);
  if (await isSameFile(target, input))
    throw new LabError(target, 'this is the lab itself, which would be written over.', 'Choose another folder.');
  if (await isSameFile(folder, input))
    throw new LabError(folder, 'this folder is the lab itself.', 'Choose another folder.');
  await makeFolder(folder);
  const probe = join(folder, `.${name}-${process.pid}.tmp`);
  await (await open(probe, 'wx')).close();
  await unlink(probe);
}

/** One and the same file, whatever links lead to it. */
export async function isSameFile(one: string, other: string): Promise<boolean> {
  const [first, second] = await Promise.all([one, other].map((path) => stat(path).catch(() => null)));
  return !!first && !!second && first.ino === second.ino && first.dev === second.dev;
}

/** Folder by folder, since the recursive mkdir of Node tries for ever where one can be neither made nor found, as in /proc. */
export async function makeFolder(path: string): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    if (isCode(error, 'ENOENT') || isCode(error, 'ENOTDIR')) return null;
    throw error;
  });
  if (found?.isDirectory()) return;
  if (found) throw new LabError(path, 'this is a file, and a folder is wanted here.', 'Choose another name.');
  await makeFolder(dirname(path));
  await mkdir(path);
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/** Writes everything below `folder`; returns the names written, in order. */
export async function exportAll(
  folder: string,
  file: LabFile,
  results: readonly RunResult[],
  options: ExportOptions,
): Promise<string[]> {
  const written: string[] = [];
  const write = async (name: string, content: string | Uint8Array): Promise<void> => {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await atomicWrite(path, content);
    written.push(name);
  };
  const runs = new Map([...file.runs, ...results.map((result): [string, RunResult] => [result.id, result])]);
  await write(`${options.name}${FILE_EXTENSION}`, await encodeLabFile({ ...file, runs }));
  await write('summary.csv', summaryCsv(results));
  for (const result of results) await write(`series/${result.comparisonId}.csv`, seriesCsv(result.series));
  const charted = chartRuns(file.lab, results);
  for (const chart of CHART_IDS) {
    const svg = await renderChartSvg(chart, charted);
    await write(`charts/${chart}.svg`, svg);
    await write(`charts/${chart}.png`, await renderPng(svg, options.fontFiles));
  }
  return written;
}
