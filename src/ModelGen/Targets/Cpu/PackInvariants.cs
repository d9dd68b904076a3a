using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>A program with what is packed ahead of its loops.</summary>
/// <param name="Program">The kernels, those that pack among them.</param>
/// <param name="Panels">For each product that finds its right operand packed, where.</param>
internal sealed record PackedProgram(KernelProgram Program, IReadOnlyDictionary<Kernel, View> Panels);

/// <summary>
/// Packs the right operands of a loop's products that are the same at every step once, before the loop.
/// Guarantees: the same products of the same numbers.
/// </summary>
internal static class PackInvariants
{
    public static PackedProgram Run(KernelProgram program)
    {
        var panels = new Dictionary<Kernel, View>();
        var kernels = new List<Kernel>();
        List<PlanBuffer> buffers = [.. program.Buffers];
        foreach (Kernel kernel in program.Kernels)
        {
            if (kernel is LoopKernel { BlockRows: 0, Steps.Maximum: > 1 } loop)
            {
                Pack(loop, panels, kernels, buffers);
            }

            kernels.Add(kernel);
        }

        return new PackedProgram(kernels.Count == program.Kernels.Count ? program : program with { Kernels = kernels, Buffers = buffers }, panels);
    }

    private static void Pack(LoopKernel loop, Dictionary<Kernel, View> panels, List<Kernel> kernels, List<PlanBuffer> buffers)
    {
        var packed = new Dictionary<(View, Access, MatMulForm), View>();
        var written = new HashSet<PlanBuffer>(loop.Body.SelectMany(k => k.Operands).Where(o => o.IsWritten).Select(o => o.View.Buffer));
        foreach (MatMulKernel product in loop.Body.OfType<MatMulKernel>().Where(k => !ProductPlan.AreDotProducts(k) && k.Operands[1].Access.Format.IsPlain))
        {
            KernelOperand source = product.Operands[1];
            if (source.View.StepStride != 0 || written.Contains(source.View.Buffer))
            {
                continue;
            }

            if (!packed.TryGetValue((source.View, source.Access, product.Form), out View? place))
            {
                var buffer = new PlanBuffer(source.View.Buffer.Name + ".panels", MemorySpace.Arena, StorageFormat.Float32, MatMulBlocking.PackedElements(product.Columns, product.Depth));
                buffers.Add(buffer);
                packed.Add((source.View, source.Access, product.Form), place = new View(buffer, 0));
                var target = new KernelOperand("panels", place, Access.Matrix(1), IsWritten: true);
                kernels.Add(new PackKernel(source.View.Buffer.Name + ", in panels", [source, target], product.Form, product.Columns, product.Depth, 8L * product.Columns * product.Depth));
            }

            panels.Add(product, place);
        }
    }
}
