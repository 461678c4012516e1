/** `lab bench`: the emulator measured against a bare loop over the same addresses. One row a figure. */
import { formatQuantity, formatShort } from '../../lab/quantity.ts';
import { measureScatterLists, measureSinglePages, measureTwoStep, PAGES_PER_OPERATION } from '../bench/mapping.ts';
import { measureMemory, peakMemory } from '../bench/memory.ts';
import { measureLengthOfRun } from '../bench/lengthOfRun.ts';
import type { PairFigure } from '../bench/pairs.ts';
import { measureHits, measureWalks } from '../bench/translation.ts';
import { measureTwoStage } from '../bench/twoStage.ts';
import { measureWholeRun } from '../bench/wholeRun.ts';
import { EXIT, ProgressLine, print, printJson, type ExitStatus } from '../output.ts';

export interface BenchVerbOptions {
  readonly quick?: true;
  readonly json?: true;
  /** Only print the memory that a run of so many accesses takes: what the bench asks of its own child. */
  readonly memory?: string;
  readonly entry: string;
}

const SHORT_RUN = 100_000;
const LONG_RUN = 10_000_000;
/** The whole bench takes minutes for the longest run; the quick one a tenth of it. */
const LONGEST_RUN = 100_000_000;
const LENGTH_PAIRS = 3;
const NAME_WIDTH = 36;

export async function benchVerb(options: BenchVerbOptions): Promise<ExitStatus> {
  if (options.memory !== undefined) {
    print(String(peakMemory(Number(options.memory))));
    return EXIT.fine;
  }
  const progress = new ProgressLine();
  const rounds = options.quick ? 3 : 9;
  progress.show('IOTLB hits');
  const hits = measureHits(rounds);
  progress.show('page walks');
  const walks = measureWalks(rounds);
  progress.show('walks of two stages');
  const twoStage = measureTwoStage(rounds);
  progress.show('mappings');
  const mappings = {
    singlePagesStrict: measureSinglePages(rounds, 'strict'),
    singlePagesLazy: measureSinglePages(rounds, 'lazy'),
    scatterLists: measureScatterLists(rounds),
    twoStepPageByPage: measureTwoStep(rounds, 1),
    twoStepOneLink: measureTwoStep(rounds, PAGES_PER_OPERATION),
  };
  progress.show('whole run');
  const run = measureWholeRun(rounds, options.quick ? 200_000 : 1_000_000);
  progress.show('a long run');
  const length = measureLengthOfRun(LENGTH_PAIRS, 1_000_000, options.quick ? LONG_RUN : LONGEST_RUN);
  progress.show('memory');
  const [short, long] = [await measureMemory(options.entry, SHORT_RUN), await measureMemory(options.entry, LONG_RUN)];
  progress.clear();
  if (options.json) {
    printJson({
      rounds,
      translationHits: hits,
      translationWalks: walks,
      translationTwoStage: twoStage,
      mappings: { ...mappings, pagesPerOperation: PAGES_PER_OPERATION },
      timedRun: run,
      lengthOfRun: length,
      memory: {
        shortRunAccesses: SHORT_RUN,
        shortRunBytes: short,
        longRunAccesses: LONG_RUN,
        longRunBytes: long,
        ratio: long / short,
      },
    });
    return EXIT.fine;
  }
  print(`${'figure'.padEnd(NAME_WIDTH)}${'emulated'.padStart(12)}${'bare loop'.padStart(12)}${'ratio'.padStart(9)}`);
  print(row('functional translation, IOTLB hit', hits));
  print(row('functional translation, 4 levels', walks));
  print(row('functional translation, two stages', twoStage));
  print(row('map + unmap of one page, strict', mappings.singlePagesStrict));
  print(row('map + unmap of one page, lazy', mappings.singlePagesLazy));
  printManyPages('map_sg', mappings.scatterLists);
  printManyPages('two-step in 32 links', mappings.twoStepPageByPage);
  printManyPages('two-step in one link', mappings.twoStepOneLink);
  print(row('whole timed run, accesses', run));
  const power = String(Math.log10(length.longAccesses));
  print(`${`time an access, 10^${power} over 10^6`.padEnd(NAME_WIDTH + 24)}${length.ratio.toFixed(3).padStart(9)}`);
  const memory = 'memory, 10^7 over 10^5 accesses';
  print(
    `${memory.padEnd(NAME_WIDTH)}${formatQuantity(long, 'bytes').padStart(12)}${formatQuantity(short, 'bytes').padStart(12)}${(long / short).toFixed(3).padStart(9)}`,
  );
  print(`\nrates per second of CPU time; medians of ${rounds} interleaved pairs; ratio: emulated rate over bare rate`);
  return EXIT.fine;
}

/** Two rows: operations of 32 pages, mapped and unmapped, and the pages that they hold. */
function printManyPages(name: string, figure: PairFigure): void {
  const perPage = {
    ratio: figure.ratio,
    rate: figure.rate * PAGES_PER_OPERATION,
    bareRate: figure.bareRate * PAGES_PER_OPERATION,
  };
  print(row(`${name}, ${PAGES_PER_OPERATION} pages`, figure));
  print(row('  per page', perPage));
}

function row(name: string, figure: PairFigure): string {
  const cells = [formatShort(figure.rate, 'count'), formatShort(figure.bareRate, 'count')].map((cell) =>
    cell.padStart(12),
  );
  return `${name.padEnd(NAME_WIDTH)}${cells.join('')}${figure.ratio.toFixed(figure.ratio < 0.01 ? 5 : 3).padStart(9)}`;
}
