/** `lab schema`: the JSON Schema of lab.json. */
import { labJsonSchema } from '../../lab/schema.ts';
import { EXIT, printJson, type ExitStatus } from '../output.ts';

export function schemaVerb(): ExitStatus {
  printJson(labJsonSchema());
  return EXIT.fine;
}
