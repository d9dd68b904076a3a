using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using ModelGen.Compiler.Emit.Ptx;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>A module of entries for some programs: kernels that are the same but for where their operands lie have one entry.</summary>
/// <param name="precision">What factors of products are rounded to.</param>
internal sealed class CudaModule(CudaPrecision precision = CudaPrecision.F32)
{
    /// <summary>The processors whose instructions are used, and what their assembler must understand.</summary>
    private const string Header = ".version 7.0\n.target sm_80\n.address_size 64\n";

    // Of a grid's second dimension; the first has as many as there are integers.
    private const int MostBlocks = 65_535;

    private readonly Dictionary<string, string> _names = [];
    private readonly HashSet<string> _taken = [];
    private readonly StringBuilder _text = new(Header);
    private readonly List<string> _entries = [];

    /// <summary>The text of the module.</summary>
    public string Text => _text.ToString();

    /// <summary>The entries' names, in the order of the text.</summary>
    public IReadOnlyList<string> Entries => _entries;

    /// <summary>Adds what a program needs that is not there yet.</summary>
    /// <exception cref="GraphException">A device cannot run it.</exception>
    public CudaProgram Add(KernelProgram program)
    {
        return new CudaProgram(program, [.. Steps(program.Kernels)]);

        List<CudaStep> Steps(IReadOnlyList<Kernel> kernels)
        {
            var steps = new List<CudaStep>();
            foreach (Kernel kernel in kernels)
            {
                if (kernel is LoopKernel loop)
                {
                    steps.Add(new CudaLoop(loop, Steps(loop.Body)));
                    continue;
                }

                for (int operand = 0; operand < kernel.Operands.Count; operand++)
                {
                    if (PtxEmitter.Reach(kernel, operand) is > int.MaxValue and long reach)
                    {
                        throw new GraphException(FormattableString.Invariant($"{kernel.Operands[operand].View.Buffer.Name} is {reach + 1} elements to {kernel.Name}, and a device's threads count to {int.MaxValue}"));
                    }
                }

                foreach (PtxEntry entry in PtxEmitter.Emit(kernel, Plan(kernel), program.Counts))
                {
                    if ((long)entry.Blocks.X * entry.Threads > int.MaxValue)
                    {
                        throw new GraphException(FormattableString.Invariant($"{kernel.Name} has {(long)entry.Blocks.X * entry.Threads} threads, and a device's threads count to {int.MaxValue}"));
                    }

                    if (entry.Blocks.Y > MostBlocks)
                    {
                        throw new GraphException(FormattableString.Invariant($"{kernel.Name} has {entry.Blocks.Y} rows of blocks, and a device runs {MostBlocks}"));
                    }

                    steps.Add(new CudaLaunch(kernel, Named(entry), [.. entry.Writer.Parameters], entry.Blocks, entry.Threads));
                }
            }

            return steps;
        }
    }

    /// <summary>What the device does for a product.</summary>
    public Func<MatMulKernel, CudaProductPlan> Products { get; init; } = kernel => CudaProductPlan.Of(kernel, precision);

    private CudaKernelPlan? Plan(Kernel kernel) => kernel is MatMulKernel product ? Products(product) : TensorAttention.Of(kernel, precision);

    private string Named(PtxEntry entry)
    {
        const string Placeholder = "ENTRY";
        string body = entry.Writer.Entry(Placeholder, "", entry.Threads);
        if (!_names.TryGetValue(body, out string? name))
        {
            name = entry.Stem;
            for (int i = 2; !_taken.Add(name); i++)
            {
                name = FormattableString.Invariant($"{entry.Stem}_v{i}");
            }

            _names.Add(body, name);
            _entries.Add(name);
            _text.Append('\n').Append(entry.Writer.Entry(name, entry.Comment, entry.Threads));
        }

        return name;
    }
}
