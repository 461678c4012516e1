/** The version of the engine, part of the identity of every result: another version may count differently. */
export const ENGINE_VERSION = '0.2.0';
