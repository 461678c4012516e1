/**
 * Writes a zip whose bytes depend on its entries alone: their order as given, one moment for all, no permissions of the
 * machine. Leaves out: streaming, since a lab fits in memory.
 */
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface ZipEntry {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly compress: boolean;
}

export async function writeZip(entries: readonly ZipEntry[]): Promise<Uint8Array> {
  const { ZipFile } = await import('yazl');
  const zip = new ZipFile();
  // The first moment that a zip can say, by the fields that DOS time is made of: the same bytes in every time zone.
  const mtime = new Date(1980, 0, 1);
  for (const { name, bytes, compress } of entries)
    zip.addBuffer(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), name, {
      mtime,
      mode: 0o100644,
      compress,
      forceDosTimestamp: true,
    });
  zip.end();
  const chunks: Buffer[] = [];
  await pipeline(
    zip.outputStream,
    new Writable({
      write(chunk: Buffer, _encoding, done) {
        chunks.push(chunk);
        done();
      },
    }),
  );
  return Buffer.concat(chunks);
}
