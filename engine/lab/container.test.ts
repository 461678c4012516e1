/** The .iovalab file: what goes in comes out, equal content is equal bytes, and a hostile or damaged file is refused by name. */
import { deflateRawSync } from 'node:zlib';
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ModuleKind, ScriptTarget, transpileModule } from 'typescript';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { atomicWrite } from './atomicWrite.ts';
import { decodeLabFile, encodeLabFile, labFileEntries, readLabFile, writeLabFile, type LabFile } from './container.ts';
import { readLabFolder, writeLabFolder } from './labFolder.ts';
import { sampleFile } from './testing/sampleLab.ts';
import { rawZip } from './testing/rawZip.ts';
import { ZIP_LIMITS } from './zipRead.ts';
import { writeZip } from './zipWrite.ts';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'iovalab-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

function plain(file: LabFile): unknown {
  return {
    lab: file.lab,
    recordings: [...file.recordings].map(([id, files]) => [id, { ...files, trace: [...files.trace] }]),
    runs: [...file.runs],
    unknown: [...file.unknown].map(([name, bytes]) => [name, [...bytes]]),
  };
}

/** The sample's entries as a zip, after a change, with whatever manifest they had. */
async function zipWith(change: (entries: Map<string, Uint8Array>) => void): Promise<Uint8Array> {
  const entries = labFileEntries(sampleFile());
  change(entries);
  return writeZip([...entries].map(([name, bytes]) => ({ name, bytes, compress: true })));
}

describe('a lab file', () => {
  it('gives back what was put in, recordings byte for byte and unknown entries too', async () => {
    const file = sampleFile();
    const read = await decodeLabFile(await encodeLabFile(file), 'x.iovalab');
    const recording = { ...file.recordings.get('rec')!, name: 'recordings/rec/w64k.txt' };
    expect(plain(read)).toEqual(plain({ ...file, recordings: new Map([['rec', recording]]) }));
  });

  it('is the same bytes for the same content, also after reading and writing again', async () => {
    const once = await encodeLabFile(sampleFile());
    const again = await encodeLabFile(await decodeLabFile(once, 'x.iovalab'));
    expect(Buffer.compare(once, again)).toBe(0);
  });

  it('starts with its manifest, not compressed', async () => {
    const bytes = Buffer.from(await encodeLabFile(sampleFile()));
    expect(bytes.subarray(30, 43).toString()).toBe('manifest.json');
    expect(bytes.readUInt16LE(8)).toBe(0);
    expect(bytes.subarray(43, 200).toString()).toContain('"appVersion"');
  });

  it('goes to a folder of plain files and back', async () => {
    const target = join(folder, 'unpacked');
    await writeLabFolder(target, sampleFile());
    expect(JSON.parse(await readFile(join(target, 'lab.json'), 'utf8'))).toMatchObject({ name: 'Sample' });
    expect(Buffer.compare(await encodeLabFile(await readLabFolder(target)), await encodeLabFile(sampleFile()))).toBe(0);
    await expect(writeLabFolder(target, sampleFile())).rejects.toThrow('not empty');
  });
});

describe('a damaged or hostile lab file', () => {
  const refusals: readonly [string, () => Promise<Uint8Array> | Uint8Array, RegExp][] = [
    ['is no zip', () => Buffer.from('not a zip at all, but long enough to be looked at'), /no intact \.iovalab file/],
    ['is cut off', async () => (await encodeLabFile(sampleFile())).subarray(0, 2_000), /no intact \.iovalab file/],
    [
      'lacks its manifest',
      () => zipWith((entries) => entries.delete('manifest.json')),
      /manifest\.json: it is missing/,
    ],
    [
      'has other content than its manifest says',
      () => zipWith((entries) => entries.set('recordings/rec/w64k.txt', Buffer.from('other'))),
      /recordings\/rec\/w64k\.txt: its content is not what the manifest says/,
    ],
    [
      'has an entry that is not listed',
      () => zipWith((entries) => entries.set('extra.txt', Buffer.from(''))),
      /extra\.txt: the manifest does not list it/,
    ],
    [
      'lacks an entry',
      () => zipWith((entries) => entries.delete('thumb.svg')),
      /thumb\.svg: the manifest lists it, and it is missing/,
    ],
    [
      'is of a newer version',
      () =>
        zipWith((entries) =>
          entries.set('manifest.json', Buffer.from('{"format":"iovalab","version":99,"appVersion":"9","entries":{}}')),
        ),
      /manifest\.json: version: the file is of version 99/,
    ],
    [
      'leads out of itself',
      () => rawZip([{ name: '../evil', bytes: Buffer.from('x') }]),
      /invalid relative path|leads out/,
    ],
    [
      'names an absolute path',
      () => rawZip([{ name: '/etc/passwd', bytes: Buffer.from('x') }]),
      /absolute path|characters/,
    ],
    ['names a backslash', () => rawZip([{ name: 'a\\b', bytes: Buffer.from('x') }]), /invalid characters|characters/],
    [
      'holds an entry twice',
      () =>
        rawZip([
          { name: 'lab.json', bytes: Buffer.from('1') },
          { name: 'lab.json', bytes: Buffer.from('2') },
        ]),
      /lab\.json: the entry stands there twice/,
    ],
    [
      'is a bomb by its ratio',
      () => rawZip([{ name: 'bomb', bytes: deflateRawSync(Buffer.alloc(8 << 20)), method: 8, size: 8 << 20 }]),
      /bomb: the entry would inflate \d+ times/,
    ],
    [
      'declares more than is allowed',
      () => rawZip([{ name: 'big', bytes: Buffer.from('x'), size: ZIP_LIMITS.entryBytes + 1 }]),
      /size mismatch|bytes, more than/,
    ],
    [
      'inflates to more than it declares',
      () => rawZip([{ name: 'liar', bytes: deflateRawSync(Buffer.alloc(100_000, 'ab')), method: 8, size: 1_000 }]),
      /liar: the entry cannot be read/,
    ],
    [
      'uses a foreign compression',
      () => rawZip([{ name: 'x', bytes: Buffer.from('x'), method: 14 }]),
      /compression method 14/,
    ],
  ];

  it.each(refusals)('is refused when it %s', async (_name, make, message) => {
    await expect(decodeLabFile(await make(), 'x.iovalab')).rejects.toThrow(message);
    await expect(decodeLabFile(await make(), 'x.iovalab')).rejects.toHaveProperty('name', 'LabError');
  });

  it('is refused when it is missing or a folder', async () => {
    await expect(readLabFile(join(folder, 'none.iovalab'))).rejects.toThrow('no such file');
    await expect(readLabFile(folder)).rejects.toThrow('this is a folder');
  });
});

describe('saving', () => {
  it.each(['opened', 'written', 'synced'] as const)('leaves the old file when it fails at "%s"', async (where) => {
    const path = join(folder, 'lab.iovalab');
    await writeLabFile(path, sampleFile());
    const before = await readFile(path);
    const failing = atomicWrite(path, 'half', (step) => {
      if (step === where) throw new Error('power is gone');
    });
    await expect(failing).rejects.toThrow('power is gone');
    expect(Buffer.compare(before, await readFile(path))).toBe(0);
    expect(await readdir(folder)).toEqual(['lab.iovalab']);
  });

  it('leaves the old file or the new one, whole, when its process is killed in the midst', async () => {
    const path = join(folder, 'value.txt');
    const module = join(folder, 'atomicWrite.mjs');
    const source = await readFile(new URL('atomicWrite.ts', import.meta.url), 'utf8');
    await writeFile(
      module,
      transpileModule(source, { compilerOptions: { module: ModuleKind.ESNext, target: ScriptTarget.ES2022 } })
        .outputText,
    );
    const [old, next] = ['old\n'.repeat(200_000), 'new\n'.repeat(200_000)];
    for (const wait of [0, 2, 5, 10, 20]) {
      await writeFile(path, old);
      const script = `
        const { atomicWrite } = await import(${JSON.stringify(pathToFileURL(module).href)});
        process.stdout.write('go');
        for (;;) await atomicWrite(${JSON.stringify(path)}, 'new\\n'.repeat(200000));`;
      const writer = spawn(process.execPath, ['--input-type=module', '-e', script]);
      await new Promise((resolve) => writer.stdout.once('data', resolve));
      await new Promise((resolve) => setTimeout(resolve, wait));
      const gone = new Promise((resolve) => writer.once('exit', resolve));
      writer.kill('SIGKILL');
      await gone;
      const found = await readFile(path, 'utf8');
      expect(found === old || found === next).toBe(true);
    }
  });

  it('follows a link to the file that it names', async () => {
    const { symlink, lstat } = await import('node:fs/promises');
    const [real, link] = [join(folder, 'real.iovalab'), join(folder, 'link.iovalab')];
    await writeFile(real, 'old');
    await symlink(real, link);
    await atomicWrite(link, 'new');
    expect((await lstat(link)).isSymbolicLink()).toBe(true);
    expect(await readFile(real, 'utf8')).toBe('new');
  });
});
