// ESLint rule: imports point one way (the table is house.mjs), and the message says why this arrow does not exist.
// It also holds relative specifiers to their full file name, since the sources run through three bundlers that would guess differently.
// Tests may use the test tools and look at any folder below `engine/` that lies beside or under them by the same table.
import { isBuiltin } from 'node:module';
import path from 'node:path';

/** @typedef {import('./house.mjs').Room} Room */

const testTools = ['vitest', 'fast-check', '@vue/test-utils', 'node:*'];

/**
 * @param {string} file
 * @param {string} folder
 */
const isInside = (file, folder) => file === folder || file.startsWith(`${folder}/`);

/**
 * @param {string} specifier
 * @returns {string} the package's name; Node's own modules as `node:*`
 */
function packageName(specifier) {
  if (isBuiltin(specifier)) return 'node:*';
  const [scopeOrName = '', name = ''] = specifier.split('/');
  return scopeOrName.startsWith('@') ? `${scopeOrName}/${name}` : scopeOrName;
}

/**
 * The judgement without ESLint around it, so that it can be tested by a table.
 * @param {readonly Room[]} rooms
 * @param {{ file: string, specifier: string, typeOnly: boolean }} found `file` is relative to the root, with forward slashes
 * @returns {string | null} what is wrong
 */
export function judgeImport(rooms, { file, specifier, typeOnly }) {
  const room = rooms.find((candidate) => isInside(file, candidate.folder));
  if (room === undefined) return null;
  const isTest = /\.test\.ts$|\/testing\//.test(file);

  if (!specifier.startsWith('.')) {
    const name = packageName(specifier);
    const allowed =
      room.packages === 'any' ? !(room.never ?? []).includes(name) : typeOnly || room.packages.includes(name);
    if (allowed || (isTest && testTools.includes(name))) return null;
    return `${room.folder} may not import the package '${name}': ${room.why}`;
  }

  const target = path.posix.normalize(path.posix.join(path.posix.dirname(file), specifier.replace(/\?.*$/, '')));
  if (path.posix.extname(target) === '') {
    return `Write the whole file name of '${specifier}', with its extension: the sources pass through several bundlers.`;
  }
  const seen = [room.folder, ...room.sees, ...(typeOnly ? (room.seesTypesOf ?? []) : [])];
  const targetRoom = rooms.find((candidate) => isInside(target, candidate.folder));
  if (targetRoom === room) return null;
  // The innermost folder decides: seeing electron/ipc is not seeing electron.
  const allowed = seen.some(
    (folder) => isInside(target, folder) && (targetRoom === undefined || folder.length >= targetRoom.folder.length),
  );
  const wholeElectron = room.sees.includes('electron') && isInside(target, 'electron');
  if (allowed || wholeElectron) return null;
  const onlyTypes = (room.seesTypesOf ?? []).some((folder) => isInside(target, folder));
  const hint = onlyTypes ? ' (its types may be imported with `import type`)' : '';
  return `${room.folder} may not import '${target}'${hint}: ${room.why}`;
}

/** @type {import('eslint').Rule.RuleModule} */
export const importDirection = {
  meta: {
    type: 'problem',
    docs: { description: 'imports follow the arrows of the house' },
    schema: [
      {
        type: 'object',
        properties: { root: { type: 'string' }, rooms: { type: 'array' } },
        required: ['root', 'rooms'],
        additionalProperties: false,
      },
    ],
  },
  create(context) {
    const { root, rooms } = /** @type {{ root: string, rooms: readonly Room[] }} */ (context.options[0]);
    const file = path.relative(root, context.filename).split(path.sep).join('/');

    /**
     * @param {Parameters<import('eslint').SourceCode['getLoc']>[0]} node
     * @param {unknown} specifier
     * @param {boolean} typeOnly
     */
    const check = (node, specifier, typeOnly) => {
      if (typeof specifier !== 'string') return;
      const message = judgeImport(rooms, { file, specifier, typeOnly });
      if (message !== null) context.report({ node, message });
    };

    /** @param {unknown} node typescript-eslint adds `importKind` and `exportKind` to what estree knows */
    const isTypeOnly = (node) => {
      const { importKind, exportKind } = /** @type {{ importKind?: string, exportKind?: string }} */ (node);
      return importKind === 'type' || exportKind === 'type';
    };

    return {
      ImportDeclaration(node) {
        const everyNameIsAType = node.specifiers.length > 0 && node.specifiers.every(isTypeOnly);
        check(node.source, node.source.value, isTypeOnly(node) || everyNameIsAType);
      },
      ExportNamedDeclaration(node) {
        if (node.source) check(node.source, node.source.value, isTypeOnly(node));
      },
      ExportAllDeclaration(node) {
        check(node.source, node.source.value, isTypeOnly(node));
      },
      ImportExpression(node) {
        if (node.source.type === 'Literal') check(node.source, node.source.value, false);
      },
    };
  },
};
