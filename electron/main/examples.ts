/*
 * The labs that come with the app. The page and the menu know them by the name of their file.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ExampleLab } from '../ipc/api.ts';
import { DesktopError } from './failures.ts';
import type { RunFileTask } from './fileWorker.ts';
import { readLabFile } from './labFiles.ts';
import { labExtension } from './launchArguments.ts';

export const firstRunExample = 'first-run';

export class ExampleCatalogue {
  private readonly folder: string;
  private readonly task: RunFileTask;
  private readonly log: (message: string) => void;
  private listing: Promise<readonly ExampleLab[]> | null = null;

  constructor(folder: string, task: RunFileTask, log: (message: string) => void) {
    this.folder = folder;
    this.task = task;
    this.log = log;
  }

  /** Read once, in the order of the gallery: the first-run lab, then by title. */
  list(): Promise<readonly ExampleLab[]> {
    this.listing ??= this.read();
    return this.listing;
  }

  async pathOf(id: string): Promise<string> {
    const names = await this.names();
    if (!names.includes(id)) throw new DesktopError('not-found', 'There is no example of that name.');
    return join(this.folder, `${id}${labExtension}`);
  }

  private async names(): Promise<string[]> {
    const files = await readdir(this.folder).catch(() => []);
    return files.filter((name) => name.endsWith(labExtension)).map((name) => name.slice(0, -labExtension.length));
  }

  private async read(): Promise<readonly ExampleLab[]> {
    const examples: ExampleLab[] = [];
    for (const id of await this.names()) {
      try {
        const { name, bytes } = await readLabFile(join(this.folder, `${id}${labExtension}`));
        const { lab } = (await this.task('read', { name, bytes })).contents;
        examples.push({ id, title: lab.name, question: lab.question ?? '' });
      } catch (error) {
        this.log(`the example ${id} cannot be read: ${String(error)}`);
      }
    }
    const rank = ({ id }: ExampleLab): number => (id === firstRunExample ? 0 : 1);
    return examples.sort((a, b) => rank(a) - rank(b) || a.title.localeCompare(b.title, 'en'));
  }
}
