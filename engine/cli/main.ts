#!/usr/bin/env node
/**
 * The `lab` command: the verbs with their options, each loaded when it is called, so that the command starts at once. What a
 * verb does stands in verbs/. Exit status: 0 fine, 1 a check did not hold, 2 bad input, 3 the environment failed.
 */
import { fileURLToPath } from 'node:url';
import { Command, CommanderError, Option } from 'commander';
import { ENGINE_VERSION } from '../lab/engineVersion.ts';
import { fontFilesBeside } from './fonts.ts';
import { EXIT, printFailure, reportFailure, type ExitStatus } from './output.ts';
import type { InspectVerbOptions } from './verbs/inspect.ts';
import type { ReportVerbOptions } from './verbs/report.ts';

interface JsonOption {
  readonly json?: true;
}

function collect(value: string, previous: readonly string[]): string[] {
  return [...previous, value];
}

function program(finish: (status: ExitStatus) => void): Command {
  const lab = new Command('lab')
    .description('IOVA Lab on the command line: runs labs, checks the emulator against recordings of real kernels.')
    .version(ENGINE_VERSION)
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'lab: ')) });

  lab
    .command('run <lab>')
    .description('run every column of a lab and print the summary, one column a run')
    .option('--set <path=value>', 'change a value, as in workloads[0].blockSize=4096 (repeatable)', collect, [])
    .option('--seed <number>', 'another seed')
    .option('--out <folder>', 'write the lab with its runs, CSV and charts there')
    .option('--json', 'print one JSON object')
    .action(async (path: string, options: { set: string[]; seed?: string; out?: string } & JsonOption) => {
      const { runVerb } = await import('./verbs/run.ts');
      finish(await runVerb(path, { ...options, fontFiles: fontFilesBeside(import.meta.url) }));
    });

  lab
    .command('report <lab>')
    .description(
      'write one page about a lab and its runs: figures, charts, what each column could not do, how sure each figure is',
    )
    .requiredOption('-o, --output <file>', 'the HTML file to write')
    .option(
      '--metric <name>',
      'what to rank the columns by, as in ioLatencyP99; left out: throughput, or what tells them apart',
    )
    .option(
      '--sensitivity',
      'run again with each assumed parameter halved and doubled, and say whether the order changes',
    )
    .option('--json', 'print one JSON object')
    .action(async (path: string, options: ReportVerbOptions) => {
      const { reportVerb } = await import('./verbs/report.ts');
      finish(await reportVerb(path, options));
    });

  lab
    .command('inspect <lab>')
    .description('print the IOVA space of one column at a moment: ranges live, queued, cached and reserved, and whose')
    .requiredOption('--at <time>', 'the moment in virtual time, as in 1.5ms')
    .option('--run <column>', 'the column by its id; left out: the first')
    .option(
      '--walk <iova>',
      'instead: the page walk of an address, as in 0xfffff000, with every entry and what it takes',
    )
    .option('--write', 'with --walk: of a write; left out: of a read')
    .option('--device <drive>', 'the drive by its id or its PCI address; left out: the first')
    .option('--iotlb', 'instead: what the IOTLB and the paging-structure caches hold')
    .option('--json', 'print one JSON object')
    .action(async (path: string, options: InspectVerbOptions) => {
      const { inspectVerb } = await import('./verbs/inspect.ts');
      finish(await inspectVerb(path, options));
    });

  lab
    .command('check <lab>')
    .description('validate a lab and its recordings, and say what is in it')
    .option('--json', 'print one JSON object')
    .action(async (path: string, options: JsonOption) => {
      const { checkVerb } = await import('./verbs/check.ts');
      finish(await checkVerb(path, options));
    });

  lab
    .command('import <file>')
    .description('turn a recording of a real kernel (ftrace text), or a job file of fio, into a lab')
    .requiredOption('-o, --output <lab>', 'the lab file to write')
    .option('--run-json <file>', 'of a recording: what kernel it was; left out: run.json beside it')
    .option('--json', 'print one JSON object')
    .action(async (path: string, options: { output: string; runJson?: string } & JsonOption) => {
      const { importVerb } = await import('./verbs/import.ts');
      finish(await importVerb(path, options));
    });

  lab
    .command('conform <suite> <files...>')
    .description(
      'replay recordings of real systems and compare each request or call; suites: linux-api, linux-trace, riscv-sv',
    )
    .option('--json', 'print one JSON object')
    .action(async (suite: string, files: string[], options: JsonOption) => {
      const { conformVerb } = await import('./verbs/conform.ts');
      finish(await conformVerb(suite, files, options));
    });

  lab
    .command('reproduce <name>')
    .description(
      'rerun a published measurement beside its reference: pcie-bench, fands, nvme-modes, odp-faults, smmu-scaling',
    )
    .option('--reference <file>', 'other published curves, in the same form as ours')
    .option('--system <prefix>', 'only systems whose names begin so')
    .option('--out <folder>', 'write a chart of each series, and all points as CSV, there')
    .option('--json', 'print one JSON object')
    .action(async (name: string, options: { reference?: string; system?: string; out?: string } & JsonOption) => {
      const { reproduceVerb } = await import('./verbs/reproduce.ts');
      finish(await reproduceVerb(name, options));
    });

  lab
    .command('schema')
    .description('print the JSON Schema of lab.json')
    .option('--json', 'the schema is JSON in any case')
    .action(async () => {
      const { schemaVerb } = await import('./verbs/schema.ts');
      finish(schemaVerb());
    });

  lab
    .command('pack <folder>')
    .description('make a lab file from a folder')
    .requiredOption('-o, --output <lab>', 'the lab file to write')
    .option('--json', 'print one JSON object')
    .action(async (path: string, options: { output: string } & JsonOption) => {
      const { packVerb } = await import('./verbs/pack.ts');
      finish(await packVerb(path, options));
    });

  lab
    .command('unpack <lab>')
    .description('make a folder of plain files from a lab file')
    .requiredOption('-o, --output <folder>', 'the folder to write, new or empty')
    .option('--json', 'print one JSON object')
    .action(async (path: string, options: { output: string } & JsonOption) => {
      const { unpackVerb } = await import('./verbs/pack.ts');
      finish(await unpackVerb(path, options));
    });

  lab
    .command('bench')
    .description('measure the emulator itself, as ratios against a bare loop in the same run')
    .option('--quick', 'fewer rounds')
    .option('--json', 'print one JSON object')
    .addOption(new Option('--memory <accesses>').hideHelp())
    .action(async (options: { quick?: true; memory?: string } & JsonOption) => {
      const { benchVerb } = await import('./verbs/bench.ts');
      finish(await benchVerb({ ...options, entry: fileURLToPath(import.meta.url) }));
    });

  return lab;
}

/** What stands after `--` is a file, whatever it is called. */
function asksForJson(args: readonly string[]): boolean {
  const end = args.indexOf('--');
  return args.slice(0, end < 0 ? args.length : end).includes('--json');
}

async function main(args: readonly string[]): Promise<ExitStatus> {
  let status: ExitStatus = EXIT.fine;
  try {
    await program((ended) => {
      status = ended;
    }).parseAsync([...args], { from: 'user' });
    return status;
  } catch (error) {
    const json = asksForJson(args);
    if (!(error instanceof CommanderError)) return reportFailure(error, json);
    if (error.exitCode === 0) return EXIT.fine;
    // The sentence stands on stderr already; a script that asked for JSON reads stdout.
    if (json) printFailure({ status: EXIT.badInput, where: null, message: error.message.replace(/^error: /, '') });
    return EXIT.badInput;
  }
}

// Whoever reads the output may have seen enough, as `head` has: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(EXIT.fine);
});

// An exit code instead of process.exit: what is still on its way to a pipe arrives.
process.exitCode = await main(process.argv.slice(2));
