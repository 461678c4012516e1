/*
 * The one registry of commands. The native menu, the palette, the shortcuts, the key help and the tests read it;
 * nothing can be done in the app that has no id here.
 *
 * `runsIn` is the place that decides: main does its own commands and sends the others to the page; the page does
 * its own and asks main (app.runCommand) for the others.
 * Shortcuts are written as Electron accelerators. The page listens for them too and prevents the default, so that a
 * key counts once: Electron's menu sees only keys that the page left alone.
 */

export type MenuName = 'file' | 'edit' | 'run' | 'view' | 'help';

export interface Command {
  readonly id: string;
  readonly title: string;
  readonly runsIn: 'main' | 'page';
  readonly shortcut?: string;
  /** Where the native menu shows it; a line is drawn between groups. */
  readonly menu?: { readonly name: MenuName; readonly group: number };
  /** A submenu that main fills: recent files, examples. Each entry dispatches the command with an id as its argument. */
  readonly submenu?: 'recent' | 'examples';
  /** One of several that exclude each other. */
  readonly radio?: 'theme';
  /** The menu does what the system does for this role (clipboard in text fields). */
  readonly role?: 'cut' | 'copy' | 'paste' | 'selectAll';
  /** Left out of the palette: needs an argument, or would be of no use there. */
  readonly hidden?: true;
  readonly developmentOnly?: true;
}

export const commands = [
  { id: 'file.open', title: 'Open Lab…', runsIn: 'main', shortcut: 'CmdOrCtrl+O', menu: { name: 'file', group: 1 } },
  {
    id: 'file.openRecent',
    title: 'Open Recent',
    runsIn: 'main',
    menu: { name: 'file', group: 1 },
    submenu: 'recent',
    hidden: true,
  },
  {
    id: 'file.openExample',
    title: 'Examples',
    runsIn: 'main',
    menu: { name: 'file', group: 1 },
    submenu: 'examples',
    hidden: true,
  },
  { id: 'file.save', title: 'Save', runsIn: 'main', shortcut: 'CmdOrCtrl+S', menu: { name: 'file', group: 2 } },
  {
    id: 'file.saveAs',
    title: 'Save As…',
    runsIn: 'main',
    shortcut: 'CmdOrCtrl+Shift+S',
    menu: { name: 'file', group: 2 },
  },
  { id: 'file.revert', title: 'Revert to Saved', runsIn: 'main', menu: { name: 'file', group: 2 } },
  {
    id: 'file.exportAll',
    title: 'Export Everything…',
    runsIn: 'main',
    shortcut: 'CmdOrCtrl+E',
    menu: { name: 'file', group: 3 },
  },
  { id: 'file.quit', title: 'Quit', runsIn: 'main', shortcut: 'CmdOrCtrl+Q', menu: { name: 'file', group: 4 } },

  { id: 'edit.undo', title: 'Undo', runsIn: 'page', shortcut: 'CmdOrCtrl+Z', menu: { name: 'edit', group: 1 } },
  { id: 'edit.redo', title: 'Redo', runsIn: 'page', shortcut: 'CmdOrCtrl+Shift+Z', menu: { name: 'edit', group: 1 } },
  { id: 'edit.cut', title: 'Cut', runsIn: 'page', menu: { name: 'edit', group: 2 }, role: 'cut', hidden: true },
  { id: 'edit.copy', title: 'Copy', runsIn: 'page', menu: { name: 'edit', group: 2 }, role: 'copy', hidden: true },
  { id: 'edit.paste', title: 'Paste', runsIn: 'page', menu: { name: 'edit', group: 2 }, role: 'paste', hidden: true },
  {
    id: 'edit.selectAll',
    title: 'Select All',
    runsIn: 'page',
    menu: { name: 'edit', group: 2 },
    role: 'selectAll',
    hidden: true,
  },
  {
    id: 'edit.measuredCurve',
    title: 'Preset from a Measured Curve…',
    runsIn: 'page',
    menu: { name: 'edit', group: 3 },
  },

  { id: 'run.start', title: 'Run All', runsIn: 'page', shortcut: 'F5', menu: { name: 'run', group: 1 } },
  { id: 'run.pause', title: 'Pause', runsIn: 'page', shortcut: 'F6', menu: { name: 'run', group: 1 } },
  { id: 'run.resume', title: 'Resume', runsIn: 'page', shortcut: 'F7', menu: { name: 'run', group: 1 } },
  { id: 'run.cancel', title: 'Cancel', runsIn: 'page', shortcut: 'Shift+F5', menu: { name: 'run', group: 1 } },
  { id: 'run.copyCommandLine', title: 'Copy as Command Line', runsIn: 'page', menu: { name: 'run', group: 2 } },

  {
    id: 'view.palette',
    title: 'Command Palette…',
    runsIn: 'page',
    shortcut: 'CmdOrCtrl+Shift+P',
    menu: { name: 'view', group: 1 },
    hidden: true,
  },
  {
    id: 'view.showTopology',
    title: 'Show Topology',
    runsIn: 'page',
    shortcut: 'CmdOrCtrl+1',
    menu: { name: 'view', group: 2 },
  },
  {
    id: 'view.showWorkload',
    title: 'Show Workload',
    runsIn: 'page',
    shortcut: 'CmdOrCtrl+2',
    menu: { name: 'view', group: 2 },
  },
  {
    id: 'view.showCharts',
    title: 'Show Charts',
    runsIn: 'page',
    shortcut: 'CmdOrCtrl+3',
    menu: { name: 'view', group: 2 },
  },
  {
    id: 'view.showCompare',
    title: 'Show Comparison',
    runsIn: 'page',
    shortcut: 'CmdOrCtrl+4',
    menu: { name: 'view', group: 2 },
  },
  {
    id: 'view.showPresets',
    title: 'Show Presets',
    runsIn: 'page',
    shortcut: 'CmdOrCtrl+6',
    menu: { name: 'view', group: 2 },
  },
  {
    id: 'view.showTranslation',
    title: 'Show Translation',
    runsIn: 'page',
    shortcut: 'CmdOrCtrl+5',
    menu: { name: 'view', group: 2 },
  },
  {
    id: 'view.toggleOutline',
    title: 'Toggle Outline',
    runsIn: 'page',
    shortcut: 'CmdOrCtrl+B',
    menu: { name: 'view', group: 3 },
  },
  {
    id: 'view.toggleInspector',
    title: 'Toggle Inspector',
    runsIn: 'page',
    shortcut: 'CmdOrCtrl+I',
    menu: { name: 'view', group: 3 },
  },
  {
    id: 'view.togglePanel',
    title: 'Toggle Bottom Panel',
    runsIn: 'page',
    shortcut: 'CmdOrCtrl+J',
    menu: { name: 'view', group: 3 },
  },
  { id: 'view.resetPanes', title: 'Reset Panes', runsIn: 'page', menu: { name: 'view', group: 3 } },
  {
    id: 'view.themeSystem',
    title: 'Theme: Follow the System',
    runsIn: 'main',
    menu: { name: 'view', group: 4 },
    radio: 'theme',
  },
  { id: 'view.themeDark', title: 'Theme: Dark', runsIn: 'main', menu: { name: 'view', group: 4 }, radio: 'theme' },
  { id: 'view.themeLight', title: 'Theme: Light', runsIn: 'main', menu: { name: 'view', group: 4 }, radio: 'theme' },
  { id: 'view.zoomIn', title: 'Zoom In', runsIn: 'main', shortcut: 'CmdOrCtrl+=', menu: { name: 'view', group: 5 } },
  { id: 'view.zoomOut', title: 'Zoom Out', runsIn: 'main', shortcut: 'CmdOrCtrl+-', menu: { name: 'view', group: 5 } },
  {
    id: 'view.zoomReset',
    title: 'Actual Size',
    runsIn: 'main',
    shortcut: 'CmdOrCtrl+0',
    menu: { name: 'view', group: 5 },
  },
  { id: 'view.fullScreen', title: 'Full Screen', runsIn: 'main', shortcut: 'F11', menu: { name: 'view', group: 5 } },
  {
    id: 'view.developerTools',
    title: 'Developer Tools',
    runsIn: 'main',
    shortcut: 'CmdOrCtrl+Shift+I',
    menu: { name: 'view', group: 6 },
    developmentOnly: true,
  },

  { id: 'chart.exportPng', title: 'Export Chart as PNG…', runsIn: 'page' },
  { id: 'chart.exportSvg', title: 'Export Chart as SVG…', runsIn: 'page' },
  { id: 'chart.exportCsv', title: 'Export Chart as CSV…', runsIn: 'page' },
  { id: 'chart.resetZoom', title: 'Show the Whole Run in Charts', runsIn: 'page' },

  {
    id: 'help.shortcuts',
    title: 'Keyboard Shortcuts',
    runsIn: 'page',
    shortcut: 'F1',
    menu: { name: 'help', group: 1 },
  },
  { id: 'help.openLogs', title: 'Open Log Folder', runsIn: 'main', menu: { name: 'help', group: 2 } },
  { id: 'help.openUserData', title: 'Open User Data Folder', runsIn: 'main', menu: { name: 'help', group: 2 } },
  { id: 'help.about', title: 'About IOVA Lab', runsIn: 'main', menu: { name: 'help', group: 3 } },
] as const satisfies readonly Command[];

export type CommandId = (typeof commands)[number]['id'];

const byId: ReadonlyMap<string, Command> = new Map(commands.map((command) => [command.id, command]));

export function isCommandId(id: string): id is CommandId {
  return byId.has(id);
}

export function findCommand(id: CommandId): Command {
  const command = byId.get(id);
  if (command === undefined) throw new RangeError(`no command is named ${id}`);
  return command;
}
