import { describe, expect, it, vi } from 'vitest';
import { chooseTarget, fileNameFrom } from './chooseTarget.ts';
import type { LabDialogs } from './dialogs.ts';
import { recentFiles, recentPath } from './recentFiles.ts';
import { visibleBounds } from './windowBounds.ts';

describe('recent files', () => {
  const paths = ['/home/me/labs/a.iovalab', '/home/me/b.iovalab', '/srv/a.iovalab', '/home/meister/c.iovalab'];

  it('have a name, a short folder and an id that is no path', () => {
    const files = recentFiles(paths, '/home/me');
    expect(files.map(({ folder }) => folder)).toEqual(['~/labs', '~', '/srv', '/home/meister']);
    expect(files[0]!.id).toMatch(/^[0-9a-f]{16}$/);
    expect(recentPath(paths, files[2]!.id)).toBe('/srv/a.iovalab');
    expect(recentPath(paths, '/etc/passwd')).toBeNull();
  });
});

describe('the window', () => {
  const screens = [{ x: 0, y: 0, width: 1280, height: 800 }];
  const wanted = { x: 100, y: 50, width: 1000, height: 700, maximized: false };

  it('comes back where it was', () => {
    expect(visibleBounds(wanted, screens)).toEqual({ x: 100, y: 50, width: 1000, height: 700 });
  });

  it('comes back in sight when its screen is gone', () => {
    expect(visibleBounds({ ...wanted, x: 5000 }, screens)).toEqual({ width: 1000, height: 700 });
    expect(visibleBounds({ ...wanted, y: -900 }, screens)).toEqual({ width: 1000, height: 700 });
  });

  it('fits the screen', () => {
    expect(visibleBounds({ ...wanted, x: null, width: 4000, height: 3000 }, screens)).toEqual({
      width: 1280,
      height: 800,
    });
  });
});

describe('the name to save under', () => {
  const question = { title: '', folder: '/tmp/none', name: 'x', kind: '', extension: '.iovalab' };
  const answering = (path: string | null, overwrite = true) =>
    ({
      chooseTarget: () => Promise.resolve(path),
      askOverwrite: vi.fn(() => Promise.resolve(overwrite)),
    }) as unknown as LabDialogs;

  it('is made from the name of the lab', () => {
    expect(fileNameFrom('Strict / lazy: "what" does it cost?')).toBe('Strict lazy what does it cost');
    expect(fileNameFrom('../../etc/passwd')).toBe('etc passwd');
    expect(fileNameFrom('???')).toBe('lab');
  });

  it('gets its ending, and replaces nothing unasked', async () => {
    expect(await chooseTarget(answering('/tmp/none/a'), question)).toBe('/tmp/none/a.iovalab');
    expect(await chooseTarget(answering('/tmp/none/a.IOVALAB'), question)).toBe('/tmp/none/a.IOVALAB');
    expect(await chooseTarget(answering(null), question)).toBeNull();
    const asked = vi.fn(() => Promise.resolve(false));
    const dialogs = { ...answering('/proc/self/statu'), askOverwrite: asked };
    expect(await chooseTarget(dialogs, { ...question, extension: 's' })).toBeNull();
    expect(asked).toHaveBeenCalledOnce();
  });
});
