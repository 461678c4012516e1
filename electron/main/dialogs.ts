/*
 * The questions that main asks of the user, in the system's own dialogs. Electron 43 and later forget the last folder, so every
 * file dialog gets one. `dialog` is called as a property, never taken apart: tests put their answers in its place.
 */
import { dialog, type BrowserWindow, type MessageBoxOptions } from 'electron';
import { labExtension } from './launchArguments.ts';

export interface LabDialogs {
  chooseLab(folder: string): Promise<string | null>;
  /** `extension` without a dot. */
  chooseTarget(options: { title: string; path: string; kind: string; extension: string }): Promise<string | null>;
  chooseFolder(options: { title: string; path: string }): Promise<string | null>;
  askUnsaved(name: string): Promise<'save' | 'discard' | 'cancel'>;
  askChangedOnDisk(name: string): Promise<'overwrite' | 'saveAs' | 'cancel'>;
  askOverwrite(name: string): Promise<boolean>;
  askRevert(name: string): Promise<boolean>;
}

const labFilter = { name: 'IOVA Lab', extensions: [labExtension.slice(1)] };

export function nativeDialogs(window: () => BrowserWindow | null): LabDialogs {
  async function ask(options: MessageBoxOptions): Promise<number> {
    const parent = window();
    const { response } =
      parent === null ? await dialog.showMessageBox(options) : await dialog.showMessageBox(parent, options);
    return response;
  }
  return {
    async chooseLab(folder) {
      const parent = window();
      const options = {
        title: 'Open Lab',
        defaultPath: folder,
        filters: [labFilter],
        properties: ['openFile' as const],
      };
      const chosen =
        parent === null ? await dialog.showOpenDialog(options) : await dialog.showOpenDialog(parent, options);
      return chosen.canceled ? null : (chosen.filePaths[0] ?? null);
    },
    async chooseTarget({ title, path, kind, extension }) {
      const parent = window();
      const options = {
        title,
        defaultPath: path,
        filters: [{ name: kind, extensions: [extension] }],
        properties: ['showOverwriteConfirmation' as const, 'createDirectory' as const],
      };
      const chosen =
        parent === null ? await dialog.showSaveDialog(options) : await dialog.showSaveDialog(parent, options);
      return chosen.canceled || chosen.filePath === '' ? null : chosen.filePath;
    },
    async chooseFolder({ title, path }) {
      const parent = window();
      const options = {
        title,
        defaultPath: path,
        buttonLabel: 'Export Here',
        properties: ['openDirectory' as const, 'createDirectory' as const],
      };
      const chosen =
        parent === null ? await dialog.showOpenDialog(options) : await dialog.showOpenDialog(parent, options);
      return chosen.canceled ? null : (chosen.filePaths[0] ?? null);
    },
    async askUnsaved(name) {
      const answers = ['save', 'discard', 'cancel'] as const;
      const chosen = await ask({
        type: 'warning',
        message: `Save the changes to ${name}?`,
        detail: 'Changes and results of runs that are not saved will be lost.',
        buttons: ['Save', 'Discard', 'Cancel'],
        defaultId: 0,
        cancelId: 2,
        noLink: true,
      });
      return answers[chosen] ?? 'cancel';
    },
    async askChangedOnDisk(name) {
      const answers = ['overwrite', 'saveAs', 'cancel'] as const;
      const chosen = await ask({
        type: 'warning',
        message: `${name} was changed by another program.`,
        detail: 'Overwriting it loses what the other program wrote.',
        buttons: ['Overwrite', 'Save As…', 'Cancel'],
        defaultId: 1,
        cancelId: 2,
        noLink: true,
      });
      return answers[chosen] ?? 'cancel';
    },
    async askOverwrite(name) {
      const chosen = await ask({
        type: 'warning',
        message: `${name} is there already. Replace it?`,
        buttons: ['Replace', 'Cancel'],
        defaultId: 1,
        cancelId: 1,
        noLink: true,
      });
      return chosen === 0;
    },
    async askRevert(name) {
      const chosen = await ask({
        type: 'warning',
        message: `Go back to ${name} as it was last saved?`,
        detail: 'Changes and results since then will be lost.',
        buttons: ['Revert', 'Cancel'],
        defaultId: 1,
        cancelId: 1,
        noLink: true,
      });
      return chosen === 0;
    },
  };
}
