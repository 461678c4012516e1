/** Files of strangers: whatever they claim to be, no more than the limit is read, and what is wrong is said with the file's name. */
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { inflatedBounded, readBounded, readBoundedIfThere, readBoundedText } from './boundedFile.ts';

const BOUNDS = { limit: 100_000, remedy: 'Name a small one.' };
let folder = '';

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'iovalab-bounded-'));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

describe('a file that a user names', () => {
  it.each([0, 1, 65_535, 65_536, 65_537, 99_999, 100_000])('of %i bytes is read whole', async (size) => {
    const path = join(folder, 'whole');
    const content = Buffer.alloc(size).map((_, index) => index * 7);
    await writeFile(path, content);
    expect(Buffer.compare(await readBounded(path, BOUNDS), content)).toBe(0);
  });

  it('of one byte more than the limit is refused with name, limit and remedy', async () => {
    const path = join(folder, 'more');
    await writeFile(path, Buffer.alloc(BOUNDS.limit + 1));
    await expect(readBounded(path, BOUNDS)).rejects.toThrow(/more: it is larger than the .* KiB .* Name a small one\./);
  });

  it('is refused by its size where it is sparse, without being read', async () => {
    const path = join(folder, 'sparse');
    await writeFile(path, '');
    await truncate(path, 50e9);
    await expect(readBounded(path, BOUNDS)).rejects.toThrow('it is larger than');
  });

  it('is read to its end where it claims to be empty, as those of the kernel do', async () => {
    expect(await readBoundedText('/proc/self/status', BOUNDS)).toContain('VmPeak');
    // Of these, too, no more is read than the limit.
    await expect(readBounded('/proc/self/status', { ...BOUNDS, limit: 64 })).rejects.toThrow('it is larger than');
  });

  it.each(['/dev/zero', '/dev/full', '/dev/random', '/dev/null'])(
    'is refused where it is a device: %s',
    async (path) => {
      await expect(readBounded(path, BOUNDS)).rejects.toThrow(`${path}: this is a device`);
    },
  );

  it('is refused where it is a folder, or leads through a file', async () => {
    await expect(readBounded(folder, BOUNDS)).rejects.toThrow('this is a folder, not a file. Name a small one.');
    await writeFile(join(folder, 'file'), 'x');
    await expect(readBounded(join(folder, 'file/x'), BOUNDS)).rejects.toThrow('it cannot be read (ENOTDIR)');
  });

  it('may be missing where it need not be there', async () => {
    const path = join(folder, 'none');
    expect(await readBoundedIfThere(path, BOUNDS)).toBeNull();
    await expect(readBounded(path, BOUNDS)).rejects.toThrow('none: there is no such file. Name a small one.');
  });
});

describe('bytes that may be compressed', () => {
  it('come out plain, up to the limit', () => {
    const most = Buffer.alloc(BOUNDS.limit, 'abc');
    expect(Buffer.compare(inflatedBounded('a', gzipSync(most), BOUNDS), most)).toBe(0);
    expect(inflatedBounded('a', most, BOUNDS)).toBe(most);
  });

  it('are refused where they grow past it, are cut off, or damaged', () => {
    const whole = gzipSync(Buffer.alloc(BOUNDS.limit + 1));
    expect(() => inflatedBounded('a.gz', whole, BOUNDS)).toThrow('a.gz: it inflates to more than');
    expect(() => inflatedBounded('a.gz', whole.subarray(0, 50), BOUNDS)).toThrow('the gzip data is cut off');
    expect(() => inflatedBounded('a.gz', Buffer.from(whole).fill(0x55, 12, 40), BOUNDS)).toThrow('is damaged');
    expect(() => inflatedBounded('a', Buffer.alloc(BOUNDS.limit + 1), BOUNDS)).toThrow('a: it is larger than');
  });
});
