using System.Collections.Generic;
using System.Linq;
using System.Text;
using ModelGen.Compiler.Emit.Ptx;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>One thing that a device does.</summary>
internal abstract record CudaStep;

/// <summary>An entry is launched with the addresses of a kernel's operands.</summary>
/// <param name="Entry">The entry's name.</param>
/// <param name="Operands">Where the operands lie.</param>
/// <param name="Blocks">Blocks of threads.</param>
/// <param name="Threads">Threads of a block.</param>
internal sealed record CudaLaunch(string Entry, IReadOnlyList<KernelOperand> Operands, (int X, int Y) Blocks, int Threads) : CudaStep;

/// <summary>Steps for each step of a loop, whose number every launch gets.</summary>
internal sealed record CudaLoop(LoopKernel Loop, IReadOnlyList<CudaStep> Body) : CudaStep;

/// <summary>A module, and what is launched of it, one step after the other.</summary>
/// <param name="Module">The text of the module.</param>
/// <param name="Steps">The steps.</param>
internal sealed record CudaProgram(string Module, IReadOnlyList<CudaStep> Steps)
{
    /// <summary>The processors whose instructions are used, and what their assembler must understand.</summary>
    private const string Header = ".version 7.0\n.target sm_80\n.address_size 64\n";

    /// <summary>Kernels that are the same but for where their operands lie have one entry.</summary>
    public static CudaProgram Of(KernelProgram program)
    {
        var names = new Dictionary<string, string>();
        var taken = new HashSet<string>();
        var module = new StringBuilder(Header);
        return new CudaProgram(null!, [.. Steps(program.Kernels)]) with { Module = module.ToString() };

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

                steps.AddRange(PtxEmitter.Emit(kernel, program.Counts).Select(e => new CudaLaunch(Named(e), kernel.Operands, e.Blocks, e.Threads)));
            }

            return steps;
        }

        string Named(PtxEntry entry)
        {
            const string Placeholder = "ENTRY";
            string body = entry.Writer.Entry(Placeholder, "", entry.Threads);
            if (!names.TryGetValue(body, out string? name))
            {
                name = entry.Stem;
                for (int i = 2; !taken.Add(name); i++)
                {
                    name = $"{entry.Stem}_v{i}";
                }

                names.Add(body, name);
                module.Append('\n').Append(entry.Writer.Entry(name, entry.Comment, entry.Threads));
            }

            return name;
        }
    }
}
