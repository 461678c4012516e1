/*
 * "Copy as command line": the runs of the window as one line for a shell. The page gets a name, not a path, so the line is
 * meant for the folder of the lab.
 */

/** POSIX shell quoting: everything between single quotes stands for itself. */
function shellQuoted(text: string): string {
  return /^[A-Za-z0-9_./-]+$/.test(text) && !text.startsWith('-') ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export function commandLine(fileName: string, packaged: boolean): string {
  const program = packaged ? 'iovalab' : 'npm run -s lab --';
  const name = fileName.startsWith('-') ? `./${fileName}` : fileName;
  return `${program} run ${shellQuoted(name)}`;
}
