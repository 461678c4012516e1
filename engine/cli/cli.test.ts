/** The command as a user meets it: a bundle on plain Node, its exit status, and what it says. */
import { execFile } from 'node:child_process';
import { mkdtemp, mkdir, readFile, readdir, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { canonicalJson } from '../lab/canonicalJson.ts';
import { parseLab, parseLabText } from '../lab/check.ts';
import { readLabFile, writeLabFile } from '../lab/container.ts';
import { withValueAt } from '../lab/documentPath.ts';
import { sampleDocument, sampleFile } from '../lab/testing/sampleLab.ts';
import { twoSocketDocument } from '../lab/testing/twoSockets.ts';

const root = join(import.meta.dirname, '../..');
const recordings = join(root, 'fixtures/recordings/7.3-lazy');
let folder = '';
let cli = '';

interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function lab(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args], { cwd: folder, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** A bundle of its own, since the one of the checkout may be older than the source, or being built. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'iovalab-cli-'));
  await mkdir(join(folder, 'out'));
  for (const name of ['fixtures', 'node_modules', 'package.json']) await symlink(join(root, name), join(folder, name));
  await build({
    configFile: join(root, 'cli.vite.config.ts'),
    logLevel: 'silent',
    build: { outDir: join(folder, 'out/main'), emptyOutDir: true },
  });
  cli = join(folder, 'out/main/cli.js');
  await writeLabFile(join(folder, 'sample.iovalab'), sampleFile());
  await writeFile(join(folder, 'lab.json'), JSON.stringify(sampleDocument()));
}, 120_000);

afterAll(async () => {
  await rm(folder, { recursive: true });
});

describe('lab inspect', () => {
  it('prints the IOVA space of a column at a moment', async () => {
    const { status, stdout } = await lab('inspect', 'sample.iovalab', '--run', 'sg-strict', '--at', '200us');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^0000:01:00\.0 at 200.µs: \d+ live \(\d+ pages\), 0 queued/);
    expect(stdout).toMatch(/0xfee00000 +256 pages +reserved/);
    const json = JSON.parse((await lab('inspect', 'sample.iovalab', '--at', '200us', '--json')).stdout) as {
      ranges: { state: string }[];
      totals: Record<string, { ranges: number }>;
    };
    expect(json.ranges.filter(({ state }) => state === 'live')).toHaveLength(json.totals['live']?.ranges ?? -1);
  });

  it('refuses what is no time', async () => {
    expect(await lab('inspect', 'sample.iovalab', '--at', 'noon')).toMatchObject({ status: 2 });
  });

  it('refuses a moment after the end of the run, and names the end, which it takes', async () => {
    const late = await lab('inspect', 'sample.iovalab', '--at', '900s');
    expect(late).toMatchObject({ status: 2, stdout: '' });
    const end = / ends before, at ([\d.]+ \w+)\. /.exec(late.stderr)?.[1] ?? '';
    expect(await lab('inspect', 'sample.iovalab', '--at', end)).toMatchObject({ status: 0 });
  });

  it('refuses a write of no address', async () => {
    const write = await lab('inspect', 'sample.iovalab', '--at', '200us', '--write');
    expect(write).toMatchObject({ status: 2 });
    expect(write.stderr).toContain('with --walk');
  });
});

describe('lab report', () => {
  it('writes one page from the runs that the lab holds, or makes them, the same each time', async () => {
    const first = await lab(
      'report',
      'lab.json',
      '-o',
      'report.html',
      '--metric',
      'throughput',
      '--sensitivity',
      '--json',
    );
    expect(first).toMatchObject({ status: 0, stderr: '' });
    const said = JSON.parse(first.stdout) as { metric: string; order: { id: string }[]; sensitivity: unknown[] };
    expect(said.metric).toBe('throughput');
    expect(said.order.map(({ id }) => id).sort()).toEqual(['sg-strict', 'two-strict']);
    expect(said.sensitivity.length).toBeGreaterThan(3);
    const page = await readFile(join(folder, 'report.html'), 'utf8');
    expect(page).toContain('If an assumed parameter is wrong');
    await lab('run', 'lab.json', '--out', 'kept');
    const again = await lab('report', 'kept/lab.iovalab', '-o', 'again.html', '--metric', 'ioLatencyP99');
    expect(again.stdout).toMatch(/^again\.html: "Sample", by I\/O latency p99: /);
    expect(await readFile(join(folder, 'again.html'), 'utf8')).toContain('kept in the lab');
  }, 60_000);

  it('refuses, before anything runs, what it cannot rank by or must not write over', async () => {
    expect((await lab('report', 'lab.json', '-o', 'x.html', '--metric', 'speed')).stderr).toMatch(
      /^lab: --metric speed: the summary has no such metric\./,
    );
    expect(await lab('report', 'lab.json', '-o', 'lab.json')).toMatchObject({ status: 2, stdout: '' });
    expect((await lab('report', 'lab.json', '-o', '.')).stderr).toMatch(/^lab: \.: this is a folder/);
  });
});

describe('lab run with the API checker', () => {
  it('tells of misuses with the calls before them, and ends with status 1 where it is to stop', async () => {
    const document = { ...sampleDocument(), apiChecker: 'report' };
    const column = {
      id: 'faulty',
      scheme: 'two_step',
      domain: 'strict',
      driverFaults: [{ kind: 'linkTwice', every: 100 }],
    };
    await mkdir(join(folder, 'faulty'), { recursive: true });
    await writeFile(join(folder, 'faulty/lab.json'), JSON.stringify({ ...document, comparison: [column] }));
    expect(await lab('pack', 'faulty', '-o', 'faulty.iovalab')).toMatchObject({ status: 0 });
    const told = await lab('run', 'faulty.iovalab');
    expect(told.status).toBe(0);
    expect(told.stdout).toMatch(/API checker, two_step strict: \d+ misuses/);
    expect(told.stdout).toMatch(/in dma_iova_link\(.*\n( +after .*\n)*? +after .*CPU \d +dma_iova_(link|try_alloc)\(/);
    const stopped = await lab('run', 'faulty.iovalab', '--set', 'apiChecker=stop');
    expect(stopped.status).toBe(1);
    expect(stopped.stdout).toMatch(/1 misuse; the run was stopped there/);
  });
});

describe('lab run', () => {
  it('prints the table and writes what it promises, the same bytes each time', async () => {
    const [first, second] = [
      await lab('run', 'sample.iovalab', '--out', 'a'),
      await lab('run', 'sample.iovalab', '--out', 'b'),
    ];
    expect(first).toMatchObject({ status: 0, stderr: '' });
    expect(first.stdout).toMatch(/^ +sg-strict|map_sg strict +two_step, strict/);
    expect(first.stdout).toMatch(/requests +200 +200/);
    expect(second.stdout.replaceAll('b:', 'a:')).toBe(first.stdout);
    const names = ['sample.iovalab', 'summary.csv', 'series/sg-strict.csv', 'series/two-strict.csv'];
    for (const chart of ['iotlb-misses', 'map-latency', 'throughput', 'bookkeeping-bytes'])
      names.push(`charts/${chart}.svg`, `charts/${chart}.png`);
    for (const name of names)
      expect(
        Buffer.compare(await readFile(join(folder, 'a', name)), await readFile(join(folder, 'b', name))),
        name,
      ).toBe(0);
    expect((await readdir(join(folder, 'a'), { recursive: true })).filter((name) => name.includes('.')).length).toBe(
      names.length,
    );
  }, 60_000);

  it('takes changes by path and a seed, and says them in JSON', async () => {
    const { status, stdout } = await lab(
      'run',
      'sample.iovalab',
      '--set',
      'workloads[reads].ioCount=50',
      '--seed',
      '99',
      '--json',
    );
    expect(status).toBe(0);
    const reply = JSON.parse(stdout) as { seed: number; runs: { summary: { requests: number } }[] };
    expect(reply.seed).toBe(99);
    expect(reply.runs.map((run) => run.summary.requests)).toEqual([50, 50]);
  }, 60_000);
});

/** 200 MiB of nothing in 200 KiB. */
const BOMB = gzipSync(Buffer.alloc(200 * 1024 * 1024), { level: 1 });

async function touched(name: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, '');
  return path;
}

describe('bad input', () => {
  it.each<[string, string[], RegExp]>([
    ['a file that is not there', ['run', 'none.iovalab'], /^lab: none\.iovalab: there is no such file/],
    [
      'a path that leads nowhere',
      ['run', 'lab.json', '--set', 'workloads[x].rw=read'],
      /workloads\[x\]\.rw: there is no "x"/,
    ],
    [
      'a value out of range',
      ['run', 'lab.json', '--set', 'workloads[0].queueDepth=0'],
      /--set: workloads\[reads\]\.queueDepth: it is too small/,
    ],
    ['a seed that is none', ['run', 'lab.json', '--seed', '-1'], /--seed -1: this is no seed/],
    ['an unknown verb', ['rum', 'x'], /unknown command 'rum'/],
    ['a verb without its argument', ['run'], /missing required argument 'lab'/],
    [
      'an unknown suite',
      ['conform', 'linux-trce', 'x'],
      /linux-trce: there is no such suite\. Did you mean linux-trace\?/,
    ],
    [
      'a recording without run.json',
      ['import', 'lab.json', '-o', 'x.iovalab'],
      /run\.json: there is no such file\. It says what kernel was recorded/,
    ],
    ['a foreign recording', ['conform', 'linux-trace', 'foreign/x.txt'], /^lab: foreign\/x\.txt:1: /],
    ['a recording cut off', ['conform', 'linux-trace', 'foreign/cut.txt.gz'], /cut\.txt\.gz: the gzip data is cut off/],
    ...[
      ['conform', 'riscv-sv'],
      ['conform', 'linux-api'],
      ['conform', 'linux-trace'],
      ['import', '-o', 'x.iovalab'],
      ['reproduce', 'odp-faults', '--reference'],
      ['run'],
      ['check'],
      ['unpack', '-o', 'x'],
    ].flatMap((verb): [string, string[], RegExp][] => [
      [`a device that never ends, ${verb.join(' ')}`, [...verb, '/dev/zero'], /^lab: \/dev\/zero: this is a device/],
      [
        `a file of 50 GB, ${verb.join(' ')}`,
        [...verb, 'foreign/large.txt'],
        /^lab: foreign\/large\.txt: it is larger than/,
      ],
    ]),
    ['a folder for a file', ['conform', 'riscv-sv', 'foreign'], /^lab: foreign: this is a folder, not a file/],
    [
      'page walks that inflate without end',
      ['conform', 'riscv-sv', 'foreign/bomb.gz'],
      /^lab: foreign\/bomb\.gz: it inflates to more than 128 MiB/,
    ],
    [
      'a trace that inflates without end',
      ['import', 'foreign/bomb.gz', '-o', 'x.iovalab'],
      /bomb\.gz: it inflates to more/,
    ],
  ])('%s: status 2, one sentence, no stack', async (_name, args, message) => {
    await mkdir(join(folder, 'foreign'), { recursive: true });
    await writeFile(join(folder, 'foreign/x.txt'), 'once upon a time\nthere was a trace\n');
    await writeFile(join(folder, 'foreign/run.json'), await readFile(join(recordings, 'run.json')));
    const whole = await readFile(join(recordings, 'w64k-rand-qd16-frag.txt.gz'));
    await writeFile(join(folder, 'foreign/cut.txt.gz'), whole.subarray(0, 20_000));
    await truncate(await touched('foreign/large.txt'), 50e9);
    await writeFile(join(folder, 'foreign/bomb.gz'), BOMB);
    const ended = await lab(...args);
    expect(ended.stderr).toMatch(message);
    expect(ended.stderr).not.toMatch(/\n {4}at /);
    expect(ended).toMatchObject({ status: 2, stdout: '' });
  });

  it.each<[string[], string | null, RegExp]>([
    [['check', 'none.iovalab'], 'none.iovalab', /there is no such file/],
    [['run', 'none.iovalab'], 'none.iovalab', /there is no such file/],
    [['run', 'lab.json', '--set', 'seed'], '--set seed', /this is not PATH=VALUE/],
    [['import', 'none.txt', '-o', 'x.iovalab'], 'none.txt', /there is no such file/],
    [['conform', 'linux-trace', 'none.txt'], 'none.txt', /there is no such file/],
    [['unpack', 'none.iovalab', '-o', 'x'], null, /none\.iovalab/],
    [['run'], null, /missing required argument 'lab'/],
    [['check'], null, /missing required argument 'lab'/],
    [['import', 'x'], null, /required option '-o, --output <lab>' not specified/],
    [['conform', 'linux-trace'], null, /missing required argument 'files'/],
    [['pack', '/x'], null, /required option '-o, --output <lab>' not specified/],
    [['unpack', 'x'], null, /required option '-o, --output <folder>' not specified/],
    [['schema', 'x'], null, /too many arguments/],
    [['bench', '--fast'], null, /unknown option '--fast'/],
    [['bogus'], null, /unknown command 'bogus'/],
    [[], null, /--json/],
  ])('is one JSON object on stdout with --json: %j', async (args, where, message) => {
    const { status, stdout } = await lab(...args, '--json');
    const { error } = JSON.parse(stdout) as { error: { status: number; where: string | null; message: string } };
    expect(error.message).toMatch(message);
    expect(error.message).not.toMatch(/^error:/);
    if (where !== null) expect(error.where).toBe(where);
    expect(error.status).toBe(status);
    expect(status).toBe(2);
  });

  it.each<[string, 2 | 3, RegExp]>([
    ['.', 2, /^lab: sample\.iovalab: this is the lab itself, which would be written over\. Choose another folder\./],
    ['linked', 2, /^lab: linked\/sample\.iovalab: this is the lab itself/],
    ['lab.json', 2, /^lab: lab\.json: this is a file, and a folder is wanted here/],
    ['lab.json/x', 2, /^lab: lab\.json: this is a file/],
    ['/proc/iovalab/x', 3, /^lab: \/proc/],
  ])('is refused before anything runs: --out %s', async (out, expected, message) => {
    const before = await readFile(join(folder, 'sample.iovalab'));
    await symlink(folder, join(folder, 'linked')).catch(() => undefined);
    // A run of this length ends long after the test has given up.
    const { status, stderr, stdout } = await lab(
      'run',
      'sample.iovalab',
      '--set',
      'workloads[0].ioCount=1000000',
      '--out',
      out,
    );
    expect(stderr).toMatch(message);
    expect({ status, stdout }).toEqual({ status: expected, stdout: '' });
    expect(Buffer.compare(await readFile(join(folder, 'sample.iovalab')), before)).toBe(0);
  });
});

describe('lab import, check, pack and unpack', () => {
  it('make a lab of a recording, show what is in it, and take it apart and together without a change', async () => {
    const trace = join(recordings, 'w64k-rand-qd16-frag.txt.gz');
    expect(await lab('import', trace, '-o', 'made.iovalab')).toMatchObject({ status: 0 });
    const check = await lab('check', 'made.iovalab', '--json');
    expect(JSON.parse(check.stdout)).toMatchObject({
      kernelProfile: '7.3',
      recordings: [{ id: '7.3-lazy.w64k-rand-qd16-frag', requests: 400, queueDepth: 16 }],
      comparison: [{ domain: 'strict' }, { domain: 'lazy' }, { domain: 'strict' }, { domain: 'lazy' }],
    });
    expect(await lab('unpack', 'made.iovalab', '-o', 'taken')).toMatchObject({ status: 0 });
    const carried = join(folder, 'taken/recordings/7.3-lazy.w64k-rand-qd16-frag/w64k-rand-qd16-frag.txt.gz');
    expect(Buffer.compare(await readFile(carried), await readFile(trace))).toBe(0);
    expect(await lab('pack', 'taken', '-o', 'again.iovalab')).toMatchObject({ status: 0 });
    const [made, again] = [await readFile(join(folder, 'made.iovalab')), await readFile(join(folder, 'again.iovalab'))];
    expect(Buffer.compare(made, again)).toBe(0);
  }, 30_000);
});

describe('a lab of several drives', () => {
  it('is checked with addresses and shared IOMMU groups, and inspected by drive', async () => {
    const document = twoSocketDocument({ port0: { acs: [] }, switch0: { acs: [] } });
    await writeFile(join(folder, 'two.json'), JSON.stringify(document));
    const checked = await lab('check', 'two.json');
    expect(checked.stdout).toContain('switch0 (switch 0000:01:00.0), nvme0 (nvme 0000:03:00.0)');
    expect(checked.stdout).toContain('one IOMMU group, and so one IOVA space: nvme0, nvme1\n');
    const inspected = await lab('inspect', 'two.json', '--at', '20us', '--device', 'nvme2');
    expect(inspected.stdout).toMatch(/^0000:81:00\.0 at /);
    const refused = await lab('inspect', 'two.json', '--at', '20us', '--device', 'nvme9');
    expect(refused).toMatchObject({ status: 2 });
    expect(refused.stderr).toContain('there is no device "nvme9". Did you mean nvme0');
  });
});

describe('a lab that no run can be made of', () => {
  it.each(['check', 'run'])('is refused by %s with the place in the document', async (verb) => {
    const path = 'topology.parts[dram0].sizeGiB';
    const { lab: document, ...rest } = await readLabFile(join(root, 'fixtures/labs/first-run.iovalab'));
    const small = parseLab(withValueAt(document, path, 1), 'small', new Set(rest.recordings.keys()));
    await writeLabFile(join(folder, 'small.iovalab'), { ...rest, lab: small });
    const { status, stdout, stderr } = await lab(verb, 'small.iovalab');
    expect(stderr).toContain(`lab: small.iovalab: ${path}: the recording`);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  });
});

describe('lab conform', () => {
  it('prints a line a file and the sum, and exits 0 when all agree', async () => {
    const { status, stdout } = await lab('conform', 'linux-trace', join(recordings, 'w64k-rand-qd16-frag.txt.gz'));
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/w64k-rand-qd16-frag\.txt\.gz: agree (\d+)\/\1$/);
    expect(lines.at(-1)).toMatch(/^linux-trace: agree (\d+)\/\1$/);
    expect(status).toBe(0);
  }, 30_000);

  describe('of recorded calls', () => {
    const calls = join(root, 'fixtures/recordings/linux-api/7.3');

    /** A recording of its own beside the machine of another. */
    async function recorded(name: string, change: (lines: string[]) => string[]): Promise<string> {
      const place = join(folder, 'calls');
      await mkdir(place, { recursive: true });
      for (const file of ['run.json', 'iomem.txt'])
        await writeFile(join(place, file), await readFile(join(calls, file)));
      const lines = gunzipSync(await readFile(join(calls, 'DMA.map_basic.jsonl.gz')))
        .toString()
        .trimEnd()
        .split('\n');
      await writeFile(join(place, name), change(lines).join('\n'));
      return `calls/${name}`;
    }

    it('prints a line a file, what was passed over and why, and the sum', async () => {
      const { status, stdout } = await lab('conform', 'linux-api', join(calls, 'DMA.map_basic.jsonl.gz'));
      const lines = stdout.trimEnd().split('\n');
      expect(lines[0]).toMatch(/DMA\.map_basic\.jsonl\.gz: agree (\d+)\/\1$/);
      expect(lines.slice(1, -1)).toContainEqual(
        expect.stringMatching(/^skipped: \d+ \(a remark of the script, no call\)$/),
      );
      expect(lines.at(-1)).toMatch(/^linux-api: agree (\d+)\/\1$/);
      expect(status).toBe(0);
    });

    it('shows the first difference with both sides, says it in JSON too, and exits 1', async () => {
      const name = await recorded('DMA.wrong.jsonl', (lines) =>
        lines.map((line) => line.replace('["map","0xfffff000"', '["map","0xffffe000"')),
      );
      const { status, stdout } = await lab('conform', 'linux-api', name);
      expect(stdout).toMatch(/^calls\/DMA\.wrong\.jsonl: agree \d+\/\d+\n {2}line \d+, record \d+ \(map m0 .*\):\n/);
      expect(stdout).toMatch(
        /\n {4}recorded: ev\[2\]\[1\] = "0xffffe000".*\n {4}emulated: ev\[2\]\[1\] = "0xfffff000"/,
      );
      expect(status).toBe(1);
      const json = await lab('conform', 'linux-api', name, '--json');
      expect(json.status).toBe(1);
      expect(JSON.parse(json.stdout)).toMatchObject({
        suite: 'linux-api',
        files: [{ name, firstDifference: { line: 6 } }],
      });
    });

    it.each<[string, string, (lines: string[]) => string[], RegExp]>([
      ['an empty file', 'DMA.empty.jsonl', () => [], /^lab: calls\/DMA\.empty\.jsonl: there is no record in it/],
      [
        'a last line cut off',
        'DMA.cut.jsonl',
        (lines) => [...lines.slice(0, 9), (lines[9] ?? '').slice(0, 40)],
        /^lab: calls\/DMA\.cut\.jsonl:10: this is not JSON .* cut off or damaged/,
      ],
      [
        'a name without mode',
        'map_basic.jsonl',
        (lines) => lines,
        /^lab: calls\/map_basic\.jsonl: its name does not begin/,
      ],
    ])('%s: status 2 and where', async (_what, name, change, message) => {
      const { status, stdout, stderr } = await lab('conform', 'linux-api', await recorded(name, change));
      expect(stderr).toMatch(message);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    });

    it.each(['run.json', 'iomem.txt'])('without %s: status 2 and what is missing', async (missing) => {
      const place = join(folder, `calls-without-${missing}`);
      await mkdir(place, { recursive: true });
      for (const file of ['run.json', 'iomem.txt', 'DMA.env.jsonl.gz'].filter((name) => name !== missing)) {
        await writeFile(join(place, file), await readFile(join(calls, file)));
      }
      const { status, stderr } = await lab('conform', 'linux-api', join(place, 'DMA.env.jsonl.gz'));
      expect(stderr).toContain(`${missing}: there is no such file. It says`);
      expect(status).toBe(2);
    });
  });
});

describe('lab schema', () => {
  it('prints the JSON Schema of a lab', async () => {
    const { status, stdout } = await lab('schema');
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      type: 'object',
      required: expect.arrayContaining(['format', 'topology']) as unknown,
    });
  });
});

describe('the example labs', () => {
  it('are what their documents make (scripts/makeLabs.mjs)', async () => {
    const labs = join(root, 'fixtures/labs');
    for (const name of (await readdir(labs)).filter((file) => file.endsWith('.json'))) {
      const made = await readLabFile(join(labs, name.replace(/json$/, 'iovalab')));
      const document = parseLabText(await readFile(join(labs, name), 'utf8'), name);
      expect(canonicalJson(made.lab), name).toBe(canonicalJson(document));
    }
  });
});
