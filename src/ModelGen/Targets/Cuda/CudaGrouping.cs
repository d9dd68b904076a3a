using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Targets.Cuda;

/// <summary>
/// Which kernels have one launch between them: blocks that stay, as many as the device holds at once, run one kernel after the other and meet in
/// between. That costs a meeting where a launch of each costs a launch, and pays where kernels are done in about that time: in the decoding of a
/// token, in steps of small models, in recurrences.
/// </summary>
internal static class CudaGrouping
{
    /// <summary>A kernel of more floating-point operations is launched by itself: the device is busy with it for longer than any launch takes.</summary>
    public const long MostFlops = 1L << 27;

    /// <summary>So is one of more blocks, which is bound by memory, and for which the device holds more blocks of it alone.</summary>
    public const int MostBlocks = 8192;

    /// <summary>Fewer launches in a row are not worth a grid that stays, unless they are all that there is.</summary>
    public const int LeastLaunches = 8;

    /// <summary>The most launches of several kernels that a plan has: each has a counter of its own in the run's record.</summary>
    public const int MostGroups = 32;

    /// <summary>
    /// Blocks of 256 threads on a processor, at most, as far as registers let so many be there: enough for loads to be on their way while others
    /// arrive, and few enough for their meeting to be short.
    /// </summary>
    public const int BlocksOfProcessor = 4;

    /// <summary>Of which registers must leave room for so many: an assembler that has hundreds of calls before it would rather keep addresses for all of them.</summary>
    public const int LeastBlocksOfProcessor = 2;

    /// <summary>The most memory that the threads of a block share in kernels of such a launch: what needs no asking, less where the launch keeps the places of weights, gradients, states and arena.</summary>
    public const int MostShared = TensorTile.SharedBytes - 32;

    /// <summary>Puts steps that follow each other together where that pays.</summary>
    /// <param name="steps">A program's steps, each kernel a launch.</param>
    /// <param name="launches">What the declaration asks for.</param>
    /// <param name="name">The program's name.</param>
    public static IReadOnlyList<CudaStep> Of(IReadOnlyList<CudaStep> steps, CudaLaunches launches, string name)
    {
        if (launches == CudaLaunches.Separate)
        {
            return steps;
        }

        var result = new List<CudaStep>();
        var run = new List<CudaStep>();
        int groups = 0;
        foreach (CudaStep step in steps)
        {
            if (IsSmall(step, launches))
            {
                run.Add(step);
                continue;
            }

            End();
            result.Add(step);
        }

        End();
        return result;

        void End()
        {
            long count = run.Sum(Executed);
            bool pays = launches == CudaLaunches.Together || count >= LeastLaunches || run.Count == steps.Count;
            if (count > 1 && pays && groups < MostGroups)
            {
                result.Add(new CudaTogether(name, [.. run], groups++));
            }
            else
            {
                result.AddRange(run);
            }

            run.Clear();
        }
    }

    private static bool IsSmall(CudaStep step, CudaLaunches launches) => step switch
    {
        CudaLoop loop => loop.Body.All(s => IsSmall(s, launches)),
        CudaLaunch launch => launch.CanStay && (launches == CudaLaunches.Together || (launch.Kernel.Flops <= MostFlops && (long)launch.Blocks.X * launch.Blocks.Y <= MostBlocks)),
        _ => false,
    };

    /// <summary>The launches of a step, those of a loop as often as it runs them at most.</summary>
    private static long Executed(CudaStep step) => step is CudaLoop loop ? loop.Body.Sum(Executed) * loop.Loop.Steps.Maximum : 1;
}
