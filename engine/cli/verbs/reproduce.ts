/** `lab reproduce`: a published measurement, rerun on the emulator and printed beside its reference, point by point. */
import { join } from 'node:path';
import {
  LARGEST_REFERENCE_FILE,
  PUBLISHED_CURVES,
  readReferenceFile,
  type ReferenceFile,
} from '../../conformance/reproduce/referenceFile.ts';
import {
  closingLine,
  conditionsLine,
  seriesLines,
  type JudgedSeries,
  type Reproduction,
} from '../../conformance/reproduce/report.ts';
import { prepareReproduction } from '../../conformance/reproduce/reproduce.ts';
import { readBoundedText } from '../../lab/boundedFile.ts';
import { EXIT, print, printJson, type ExitStatus } from '../output.ts';

export interface ReproduceVerbOptions {
  readonly reference?: string;
  readonly system?: string;
  readonly out?: string;
  readonly json?: true;
}

export async function reproduceVerb(name: string, options: ReproduceVerbOptions): Promise<ExitStatus> {
  const file = options.reference === undefined ? PUBLISHED_CURVES : await openReference(options.reference);
  const run = await prepareReproduction(name, file, options.system ?? null);
  if (options.out !== undefined) await prepareOut(options.out);
  const watched = process.stderr.isTTY;
  const onSeries = (series: JudgedSeries): void => {
    if (!options.json) for (const line of seriesLines(series)) print(line);
  };
  const result = run(onSeries, (machine) => {
    if (watched) process.stderr.write(`${name}: ${machine}\n`);
  });
  const written = options.out === undefined ? [] : await draw(options.out, result);
  if (options.json) printJson({ ...result, files: written });
  else {
    const broken = conditionsLine(result);
    if (broken !== null) print(broken);
    print(closingLine(result));
    if (options.out !== undefined) process.stderr.write(`${options.out}: ${written.join(', ')}\n`);
  }
  return EXIT.fine;
}

async function openReference(path: string): Promise<ReferenceFile> {
  const text = await readBoundedText(path, {
    limit: LARGEST_REFERENCE_FILE,
    remedy: 'Name a JSON file with published curves.',
  });
  return readReferenceFile(path, text);
}

async function prepareOut(folder: string): Promise<void> {
  const { makeFolder } = await import('../../lab/exportFiles.ts');
  await makeFolder(folder);
}

/** Both curves of each series, and all points as a table. */
async function draw(folder: string, result: Reproduction): Promise<string[]> {
  const { atomicWrite } = await import('../../lab/atomicWrite.ts');
  const { chartFileNames, reproductionCsv, reproductionSvg } =
    await import('../../conformance/reproduce/reproductionFiles.ts');
  const written: string[] = [];
  const write = async (name: string, content: string): Promise<void> => {
    await atomicWrite(join(folder, name), content);
    written.push(name);
  };
  await write(`${result.name}.csv`, reproductionCsv(result));
  const names = chartFileNames(result.series);
  for (const [index, series] of result.series.entries())
    await write(names[index]!, await reproductionSvg(series, closingLine(result)));
  return written;
}
