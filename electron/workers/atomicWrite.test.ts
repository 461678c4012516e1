import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstat, mkdir, mkdtemp, readFile, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import typescript from 'typescript';
import { expect, it } from 'vitest';
import { atomicWrite } from './atomicWrite.ts';

const folder = () => mkdtemp(join(tmpdir(), 'atomic-'));

it('replaces a file, keeps its permissions and leaves nothing beside it', async () => {
  const directory = await folder();
  const path = join(directory, 'a.iovalab');
  await writeFile(path, 'old', { mode: 0o600 });
  await atomicWrite(path, new Uint8Array([110, 101, 119]));
  expect(await readFile(path, 'utf8')).toBe('new');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(directory)).toEqual(['a.iovalab']);
});

it('writes through a symbolic link', async () => {
  const directory = await folder();
  await writeFile(join(directory, 'real'), 'old');
  await symlink(join(directory, 'real'), join(directory, 'link'));
  await atomicWrite(join(directory, 'link'), 'new');
  expect((await lstat(join(directory, 'link'))).isSymbolicLink()).toBe(true);
  expect(await readFile(join(directory, 'real'), 'utf8')).toBe('new');
});

it('leaves the old file and no rubbish when the folder is not there', async () => {
  const directory = await folder();
  await expect(atomicWrite(join(directory, 'none', 'a'), 'x')).rejects.toThrow();
  expect(await readdir(directory)).toEqual([]);
});

it('shows the old content or the new when the writer is killed at any moment', async () => {
  const directory = await folder();
  const data = join(directory, 'data');
  await mkdir(data);
  const path = join(data, 'a');
  const size = 1 << 20;
  await writeFile(path, 'a'.repeat(size));
  const source = await readFile(new URL('atomicWrite.ts', import.meta.url), 'utf8');
  const module = typescript.transpileModule(source, {
    compilerOptions: { module: typescript.ModuleKind.ESNext, target: typescript.ScriptTarget.ES2023 },
  });
  const script = `for (let n = 1; ; n++) await atomicWrite(${JSON.stringify(path)}, String.fromCharCode(97 + (n % 20)).repeat(${size}));`;
  await writeFile(join(directory, 'writer.mjs'), `${module.outputText}\n${script}`);
  for (const delay of [120, 150, 190, 240]) {
    const child = spawn(process.execPath, [join(directory, 'writer.mjs')], { stdio: 'ignore' });
    await wait(delay);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const content = await readFile(path, 'utf8');
    expect(content === content.charAt(0).repeat(size)).toBe(true);
  }
});
