/**
 * Reads a zip from memory as from a stranger (APPNOTE 6.3.10 by way of yauzl): the directory is judged before a byte is
 * inflated, so that no file can fill memory or name a place outside itself.
 * Leaves out: encryption, split archives and folders as entries, none of which a lab has.
 */
import { LabError } from '../time/labError.ts';
import type { Entry, ZipFile } from 'yauzl';

export const ZIP_LIMITS = {
  /** The zip itself. */
  fileBytes: 512 * 1024 * 1024,
  entries: 4_096,
  entryBytes: 256 * 1024 * 1024,
  totalBytes: 1024 * 1024 * 1024,
  /** Inflated over deflated. Text of a trace reaches 40; the format's own limit is 1,032. */
  ratio: 400,
  /** Below this size the ratio says nothing. */
  ratioFreeBytes: 64 * 1024,
  nameLength: 240,
} as const;

const TAKE_WHOLE_COPY = 'Take it from a whole copy of the file.';

export async function readZip(bytes: Uint8Array, where: string): Promise<Map<string, Uint8Array>> {
  if (bytes.length > ZIP_LIMITS.fileBytes)
    throw new LabError(
      where,
      `the file has ${bytes.length} bytes, more than the ${ZIP_LIMITS.fileBytes} allowed.`,
      'Remove runs from the lab.',
    );
  const zip = await open(bytes, where);
  try {
    const entries = await directory(zip, where);
    const contents = new Map<string, Uint8Array>();
    for (const entry of entries) contents.set(entry.fileName, await content(zip, entry, where));
    return contents;
  } finally {
    zip.close();
  }
}

async function open(bytes: Uint8Array, where: string): Promise<ZipFile> {
  const { fromBuffer } = await import('yauzl');
  return new Promise((resolve, reject) => {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    fromBuffer(
      buffer,
      { autoClose: false, lazyEntries: true, strictFileNames: true, validateEntrySizes: true },
      (error, zip) => {
        if (error) reject(new LabError(where, `this is no intact .iovalab file (${reason(error)}).`, TAKE_WHOLE_COPY));
        else resolve(zip);
      },
    );
  });
}

function directory(zip: ZipFile, where: string): Promise<Entry[]> {
  if (zip.entryCount > ZIP_LIMITS.entries)
    throw new LabError(
      where,
      `it holds ${zip.entryCount} entries, more than the ${ZIP_LIMITS.entries} allowed.`,
      'Remove runs from the lab.',
    );
  return new Promise((resolve, reject) => {
    const entries: Entry[] = [];
    const names = new Set<string>();
    let total = 0;
    zip.on('error', (error: Error) => {
      reject(new LabError(where, `its directory cannot be read (${reason(error)}).`, TAKE_WHOLE_COPY));
    });
    zip.on('end', () => {
      resolve(entries);
    });
    zip.on('entry', (entry: Entry) => {
      total += entry.uncompressedSize;
      const problem = entryProblem(entry, names, total);
      if (problem !== null) {
        reject(
          new LabError(
            `${where}: ${shown(entry.fileName)}`,
            problem,
            'The file is damaged or was made to do harm: do not trust it.',
          ),
        );
        return;
      }
      names.add(entry.fileName);
      entries.push(entry);
      zip.readEntry();
    });
    zip.readEntry();
  });
}

function entryProblem(entry: Entry, names: ReadonlySet<string>, total: number): string | null {
  const name = entry.fileName;
  const nameProblem = entryNameProblem(name);
  if (nameProblem !== null) return nameProblem;
  if (names.has(name)) return 'the entry stands there twice.';
  if (entry.isEncrypted()) return 'the entry is encrypted.';
  if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8)
    return `the entry uses the compression method ${entry.compressionMethod}.`;
  if (entry.uncompressedSize > ZIP_LIMITS.entryBytes)
    return `the entry says that it has ${entry.uncompressedSize} bytes, more than the ${ZIP_LIMITS.entryBytes} allowed.`;
  if (total > ZIP_LIMITS.totalBytes)
    return `the entries so far have ${total} bytes, more than the ${ZIP_LIMITS.totalBytes} allowed.`;
  if (
    entry.uncompressedSize > ZIP_LIMITS.ratioFreeBytes &&
    entry.uncompressedSize > entry.compressedSize * ZIP_LIMITS.ratio
  )
    return `the entry would inflate ${Math.round(entry.uncompressedSize / Math.max(1, entry.compressedSize))} times.`;
  return null;
}

/** Names are relative, plain and unique on every file system: also used when a folder is packed. */
export function entryNameProblem(name: string): string | null {
  if (name.length === 0 || name.length > ZIP_LIMITS.nameLength) return `the name has ${name.length} characters.`;
  if (!/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/.test(name))
    return 'the name holds characters that no entry of a lab has.';
  if (name.split('/').some((part) => part === '.' || part === '..')) return 'the name leads out of the lab.';
  return null;
}

function content(zip: ZipFile, entry: Entry, where: string): Promise<Uint8Array> {
  const place = `${where}: ${shown(entry.fileName)}`;
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      reject(new LabError(place, `the entry cannot be read (${reason(error)}).`, TAKE_WHOLE_COPY));
    };
    zip.openReadStream(entry, (error, stream) => {
      if (error) {
        fail(error);
        return;
      }
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', fail);
      stream.on('end', () => {
        resolve(Buffer.concat(chunks));
      });
    });
  });
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\s+/g, ' ').slice(0, 200) : 'unreadable';
}

/** A name from a hostile file, fit for a message. */
function shown(name: string): string {
  return name.slice(0, 80).replace(/[^ -~]/g, '?');
}
