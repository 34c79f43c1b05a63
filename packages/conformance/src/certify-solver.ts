import type { SolverClaims } from './integrator.js';
import { checkDraws, checkPoint, checkPure } from './laws.js';
import { marginalVariance } from './marginal.js';
import { convergence } from './order.js';
import { atLeast, atMost, type Check, type Report, report } from './report.js';

/** How far below its claim an observed order may be: at a few hundred steps the next term of the error still shows. */
const ORDER_MARGIN = 0.25;
/** Largest relative error of the variance with 384 steps from ratio 80 to 0.05. */
const VARIANCE_LIMIT = 0.03;

/**
 * Checks what is claimed of a solver, on every kind of table that it works on: it is pure, data of one point is reached exactly,
 * it draws noise only if it says so; if it is deterministic, its order against exact solutions on a mixture of normals; if
 * it is stochastic, the variance of its results on normal data, and that more steps bring it closer.
 */
export async function certifySolver(claims: SolverClaims): Promise<Report> {
  const { name, integrate, kinds, order, stochastic = false, reachesPoint = true, precision = 1e-9 } = claims;
  const checks: Check[] = [];
  for (const kind of kinds) {
    checks.push(...(await checkPure(integrate, kind)));
    checks.push(await checkDraws(integrate, kind, stochastic));
    if (reachesPoint) checks.push(await checkPoint(integrate, kind, precision));
    if (order !== undefined) {
      const found = await convergence(integrate, kind, { floor: precision / 100 });
      checks.push(atLeast(`${kind}: order of convergence`, found.order, order - ORDER_MARGIN));
    }
    if (stochastic) checks.push(...(await checkVariance(claims, kind)));
  }
  return report(name, checks);
}

async function checkVariance(
  { integrate }: SolverClaims,
  kind: SolverClaims['kinds'][number],
): Promise<readonly Check[]> {
  const off = async (steps: number) => {
    const { found, exact, standardError } = await marginalVariance(integrate, kind, steps);
    return { error: Math.abs(found / exact - 1), chance: (4 * standardError) / exact };
  };
  const [few, many] = [await off(96), await off(384)];
  return [
    atMost(`${kind}: error of the marginal variance, 384 steps`, many.error, VARIANCE_LIMIT + many.chance),
    atMost(
      `${kind}: the same over that of 96 steps`,
      many.error / few.error,
      few.error < few.chance ? Number.POSITIVE_INFINITY : 0.5,
    ),
  ];
}
