/**
 * The files of a recording of DMA API calls: one JSON object a line, gzip'd or plain, and beside it what says on which machine
 * it was made (run.json, iomem.txt).
 */
export interface ApiFiles {
  /** With the folder, as the user named it: its last part begins with the mode of the domain. */
  readonly name: string;
  readonly recording: Uint8Array;
  readonly runJson: string;
  readonly iomem: string;
}
