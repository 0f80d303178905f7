// Gives the exports the names that components have, which no identifier of AssemblyScript can be.
const interfaces = { describe: ['describe'], resolver: ['open', 'resolve'] };

export default class {
  afterCompile(module) {
    for (const [name, functions] of Object.entries(interfaces)) {
      for (const one of functions) {
        const full = `concord:plugin/${name}@0.1.0#${one}`;
        module.removeExport(one);
        module.addFunctionExport(`shortest/${one}`, full);
        module.addFunctionExport('canonical/answered', `cabi_post_${full}`);
      }
    }
    module.removeExport('answered');
  }
}
