/** `lab pack` and `lab unpack`: a lab file as a folder of plain files, and back. */
import { readLabFile, writeLabFile } from '../../lab/container.ts';
import { readLabFolder, writeLabFolder } from '../../lab/labFolder.ts';
import { EXIT, print, printJson, type ExitStatus } from '../output.ts';

interface PackOptions {
  readonly output: string;
  readonly json?: true;
}

export async function packVerb(folder: string, { output, json }: PackOptions): Promise<ExitStatus> {
  const file = await readLabFolder(folder);
  await writeLabFile(output, file);
  if (json) printJson({ output, lab: file.lab.name });
  else print(`${output}: "${file.lab.name}"`);
  return EXIT.fine;
}

export async function unpackVerb(path: string, { output, json }: PackOptions): Promise<ExitStatus> {
  const file = await readLabFile(path);
  await writeLabFolder(output, file);
  if (json) printJson({ output, lab: file.lab.name });
  else print(`${output}: "${file.lab.name}"`);
  return EXIT.fine;
}
