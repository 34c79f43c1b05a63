import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const require = createRequire(import.meta.url);

/** Why the tool cannot do its work on this machine: not a fault, a fact to print. */
export class Unavailable extends Error {}

/** TensorFlow's release whose C headers and library were tested with the addon of tfjs-node-gpu 4.22. */
export const tensorflowVersion = '2.21.0';

const libraries = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2'];

/** The folder of the installed npm package that ships the addon as source. */
export function packageFolder(): string {
  try {
    return dirname(require.resolve('@tensorflow/tfjs-node-gpu/package.json'));
  } catch {
    throw new Unavailable('@tensorflow/tfjs-node-gpu is not installed (it is an optional dependency)');
  }
}

/** Where the addon is looked for by the package (N-API 8). */
export const addonPath = (folder: string): string => join(folder, 'lib', 'napi-v8', 'tfjs_binding.node');

/** The first of `names` that answers `--version`. */
export async function findProgram(what: string, names: readonly string[]): Promise<string> {
  for (const name of names) {
    try {
      await run(name, ['--version']);
      return name;
    } catch {
      // Not this one; try the next name.
    }
  }
  throw new Unavailable(`no ${what} found (tried ${names.join(', ')})`);
}

/** Downloads the wheel into `folder` with pip and returns its path. */
export async function downloadWheel(python: string, distribution: string, folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const spec = `${distribution}==${tensorflowVersion}`;
  const args = ['-m', 'pip', 'download', '--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary=:all:'];
  try {
    await run(python, [...args, '--dest', folder, spec], { maxBuffer: 1 << 26 });
  } catch (error) {
    const text = String((error as { stderr?: string }).stderr || error).trim();
    throw new Unavailable(`pip cannot download ${spec}: ${text.split('\n').at(-1)}`);
  }
  const wheel = (await readdir(folder)).find((file) => file.startsWith(`${distribution.replace('-', '_')}-`));
  if (wheel === undefined) throw new Unavailable(`pip downloaded no wheel of ${spec}`);
  return join(folder, wheel);
}

/** Takes the libraries and the C headers out of the wheel. */
export async function unpackWheel(python: string, wheel: string, into: string): Promise<void> {
  const program = [
    'import sys, zipfile',
    'wheel, into = sys.argv[1:3]',
    "wanted = ('tensorflow/include/tensorflow/', 'tensorflow/include/xla/', 'tensorflow/include/tsl/')",
    `libraries = [f'tensorflow/{name}' for name in ${JSON.stringify(libraries)}]`,
    'with zipfile.ZipFile(wheel) as z:',
    '    for name in z.namelist():',
    '        if name in libraries or (name.startswith(wanted) and name.endswith(".h")): z.extract(name, into)',
  ].join('\n');
  await run(python, ['-c', program, wheel, into]);
}

/** Compiles the addon's two source files against the wheel's headers. */
export async function compileAddon(
  compiler: string,
  folder: string,
  wheelFolder: string,
  output: string,
): Promise<void> {
  const nodeHeaders = (require('node-api-headers') as { include_dir: string }).include_dir;
  const tensorflow = join(wheelFolder, 'tensorflow');
  const sources = ['tfjs_backend.cc', 'tfjs_binding.cc'].map((file) => join(folder, 'binding', file));
  await run(
    compiler,
    [
      '-std=c++17',
      '-O2',
      '-fPIC',
      '-shared',
      '-DNAPI_VERSION=8',
      `-I${nodeHeaders}`,
      `-I${join(tensorflow, 'include')}`,
      ...sources,
      `-L${tensorflow}`,
      ...libraries.map((name) => `-l:${name}`),
      '-Wl,-rpath,$ORIGIN/../../deps/lib',
      '-o',
      output,
    ],
    { maxBuffer: 1 << 26 },
  );
}

/** Puts libraries and addon in place; the addon last, since its presence means that the engine is complete. */
export async function place(folder: string, wheelFolder: string, addon: string): Promise<void> {
  const lib = join(folder, 'deps', 'lib');
  await mkdir(lib, { recursive: true });
  await mkdir(dirname(addonPath(folder)), { recursive: true });
  for (const name of libraries) {
    await rm(join(lib, name), { force: true });
    await cp(join(wheelFolder, 'tensorflow', name), join(lib, name));
  }
  await cp(addon, `${addonPath(folder)}.part`);
  await rename(`${addonPath(folder)}.part`, addonPath(folder));
}

/** Loads the engine in a fresh process and multiplies two matrices; the answer is TensorFlow's version. */
export async function check(folder: string): Promise<string> {
  const program = `
    const util = require('node:util');
    util.isNullOrUndefined ??= (v) => v === null || v === undefined;
    util.isArray ??= Array.isArray;
    const tf = require(${JSON.stringify(folder)});
    const product = tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[5, 6], [7, 8]])).dataSync();
    if (tf.getBackend() !== 'tensorflow' || product.join() !== '19,22,43,50') throw new Error('wrong product: ' + product);
    process.stdout.write(tf.backend().binding.TF_Version);
  `;
  const { stdout } = await run(process.execPath, ['-e', program], {
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2' },
  });
  return stdout.trim().split('\n').at(-1) ?? '';
}

/** Downloads, compiles and places; everything temporary is removed, whatever happens. */
export async function install({ gpu, log }: { gpu: boolean; log: (line: string) => void }): Promise<string> {
  if (process.platform !== 'linux')
    throw new Unavailable(`only Linux wheels hold the C library (this is ${process.platform})`);
  const folder = packageFolder();
  const python = await findProgram('Python', ['python3', 'python']);
  const compiler = await findProgram('C++17 compiler', ['g++', 'clang++', 'c++']);
  const work = await mkdtemp(join(tmpdir(), 'mezzotint-tensorflow-'));
  try {
    log(`Downloading TensorFlow ${tensorflowVersion} (${gpu ? 'GPU, about 600 MB' : 'CPU, about 270 MB'})`);
    const wheel = await downloadWheel(python, gpu ? 'tensorflow' : 'tensorflow-cpu', work);
    log('Unpacking the library and its headers');
    await unpackWheel(python, wheel, work);
    log('Compiling the addon');
    const addon = join(work, 'tfjs_binding.node');
    await compileAddon(compiler, folder, work, addon);
    await place(folder, work, addon);
    return await check(folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** True when an addon is already in place. */
export const isInstalled = (): boolean => existsSync(addonPath(packageFolder()));
