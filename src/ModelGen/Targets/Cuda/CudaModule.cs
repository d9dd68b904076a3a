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
/// <param name="products">Which products are by groups of four warps.</param>
internal sealed class CudaModule(CudaPrecision precision = CudaPrecision.F32, CudaProducts products = CudaProducts.Automatic)
{
    /// <summary>The processors whose instructions are used, and what their assembler must understand.</summary>
    private const string Header = ".version 7.0\n.target sm_80\n.address_size 64\n";

    /// <summary>The same for the module that devices of compute capability 9.0 load beside it, and no others: what it has, later ones do not.</summary>
    private const string WarpgroupHeader = ".version 8.0\n.target sm_90a\n.address_size 64\n";

    private readonly Dictionary<(string Text, Part Part), (string Name, IReadOnlyList<string> Parameters)> _names = [];
    private readonly HashSet<string> _taken = [];
    private readonly StringBuilder _text = new();
    private readonly StringBuilder _functions = new();
    private readonly StringBuilder _together = new();
    private readonly StringBuilder _warpgroups = new();
    private readonly List<string> _entries = [];
    private readonly List<string> _warpgroupEntries = [];
    private readonly Dictionary<string, int> _sharedBytes = [];
    private int _scratch;
    private int _draws;

    /// <summary>The most blocks of a grid's second dimension; the first has as many as there are integers. Grids that are higher have all blocks in the first.</summary>
    public int MostRows { get; init; } = 65_535;

    /// <summary>Which kernels are launched together.</summary>
    public CudaLaunches Launches { get; init; } = CudaLaunches.Separate;

    /// <summary>Which matrices are computed some rows at a time.</summary>
    public RowBlocks RowBlocks { get; init; } = RowBlocks.OfDevice;

    /// <summary>How factors are rounded to bfloat16.</summary>
    public CudaRounding Rounding { get; init; }

    /// <summary>Whether what tensor cores multiply may be stored as it is multiplied: rounding does not depend on the run.</summary>
    public bool StoresRounded => precision == CudaPrecision.BF16 && RoundsAlike;

    /// <summary>Whether a number is rounded the same in every run.</summary>
    private bool RoundsAlike => precision != CudaPrecision.BF16 || Rounding == CudaRounding.Nearest;

    /// <summary>The text of the module: entries, functions, and the entries that call those.</summary>
    public string Text => Header + Scratch + _text + (_together.Length == 0 ? "" : "\n" + PtxTogether.Meet) + _functions + _together;

    private string Scratch => _scratch == 0 ? "" : FormattableString.Invariant($"\n// What the threads of a block share in one function after the other.\n.shared .align 16 .b8 {PtxTogether.Scratch}[{_scratch}];\n");

    /// <summary>Where instructions go: an entry of the module for all devices, a function of it, or an entry of the module for those with products of four warps.</summary>
    private enum Part
    {
        Entry,
        Function,
        Warpgroups,
    }

    /// <summary>The text of the module for devices with products of four warps; empty where there is none.</summary>
    public string WarpgroupText => _warpgroups.Length == 0 ? "" : $"{WarpgroupHeader}\n// What launches ask for.\n{PtxWriter.DynamicDeclaration}{_warpgroups}";

    /// <summary>The names of its entries, in the order of its text.</summary>
    public IReadOnlyList<string> WarpgroupEntries => _warpgroupEntries;

    /// <summary>The shared memory that a block of one of them asks for.</summary>
    public int SharedBytesOf(string warpgroupEntry) => _sharedBytes[warpgroupEntry];

    /// <summary>The entries' names, in the order of the text.</summary>
    public IReadOnlyList<string> Entries => _entries;

    /// <summary>Adds what a program needs that is not there yet.</summary>
    /// <exception cref="GraphException">A device cannot run it.</exception>
    /// <param name="program">The program.</param>
    /// <param name="name">Its name, which entries have that run several of its kernels.</param>
    public CudaProgram Add(KernelProgram program, string name = "Plan")
    {
        program = LibraryProducts.Run(program, precision, kernel => RoundsAlike && LibraryProducts.IsLarge(kernel, products, Launches), out IReadOnlyDictionary<(string Name, IReadOnlyList<Store> Stores), LibraryProduct> calls, out IReadOnlyCollection<Kernel> rounding);
        program = PackFactors.Run(program, Warpgroups, out IReadOnlyDictionary<Kernel, WarpgroupProduct> large);
        program = AttentionMeans.Run(program, Attention, out IReadOnlyDictionary<Kernel, TensorAttention> gradients);
        CudaStep[] steps = [.. CudaGrouping.Of(Steps(program.Kernels), Launches, name).Select(step => step is CudaTogether together ? WithFewerMeetings(together) : step)];
        return new CudaProgram(program, [.. steps.Select(step => Named(step, Part.Entry))]);

        // Kernels that run together have other operands where that spares meetings.
        CudaTogether WithFewerMeetings(CudaTogether together)
        {
            foreach (Func<KernelProgram, CudaTogether, Func<Kernel, CudaLaunch>, IDictionary<Kernel, Kernel>, CudaTogether> pass in new[] { NewestKeys.Run, RowsOfBlocks.Run })
            {
                var replaced = new Dictionary<Kernel, Kernel>();
                together = pass(program, together, kernel => Launch(kernel, PtxEmitter.Emit(kernel, Plan(kernel), program.Counts).Single()), replaced);
                program = replaced.Count == 0 ? program : program with { Kernels = [.. program.Kernels.Select(kernel => replaced.TryGetValue(kernel, out Kernel? other) ? other : kernel)] };
            }

            return together;
        }

        List<CudaStep> Steps(IReadOnlyList<Kernel> kernels)
        {
            var steps = new List<CudaStep>();
            var packing = new List<CudaLaunch>();
            foreach (Kernel kernel in kernels)
            {
                if (kernel is CudaPackKernel pack)
                {
                    packing.Add(Launch(pack, PtxPack.Emit(pack, Rounding, program.Counts)));
                    continue;
                }

                if (kernel is LoopKernel loop)
                {
                    steps.Add(new CudaLoop(loop, Steps(loop.Body)));
                    continue;
                }

                if (rounding.Contains(kernel))
                {
                    steps.AddRange(PtxEmitter.Emit(kernel, null, program.Counts).Select(entry => new CudaForLibrary(Launch(kernel, entry))));
                    continue;
                }

                int own = large.TryGetValue(kernel, out WarpgroupProduct? product) ? product.Left : kernel.Operands.Count;
                own = CallOf(kernel) is { } call ? Math.Min(own, call.First) : own;
                for (int operand = 0; operand < own; operand++)
                {
                    if (PtxEmitter.Reach(kernel, operand) is > int.MaxValue and long reach)
                    {
                        throw new DeviceLimitException(FormattableString.Invariant($"{kernel.Operands[operand].View.Buffer.Name} is {reach + 1} elements to {kernel.Name}, and a device's threads count to {int.MaxValue}"));
                    }
                }

                CudaLaunch[] launches = [.. PtxEmitter.Emit(kernel, gradients.TryGetValue(kernel, out TensorAttention? gradient) ? gradient : Plan(kernel), program.Counts).Select(entry => Launch(kernel, entry))];
                if (product is null)
                {
                    steps.AddRange(launches);
                    continue;
                }

                // Of rows that a run counts, both ways to multiply are launched, of which one leaves at once.
                var rows = (MatMulKernel)kernel;
                PtxEntry[] few = !rows.Rows.IsDynamic ? [] : [.. PtxEmitter.Emit(kernel, Plan(kernel), program.Counts)];
                foreach (PtxEntry entry in few)
                {
                    new PtxKernel(entry.Writer, kernel, program.Counts).Only(rows.Rows, product.Plan.FewestRows, isBelow: true);
                }

                steps.Add(new CudaChoice([.. packing, .. PtxWarpgroupProduct.Emit(rows, product, program.Counts).Concat(few).Select(entry => Launch(kernel, entry))], launches[0]));
                packing.Clear();
            }

            return [.. steps.Select(WithLibrary)];
        }

        LibraryProduct? CallOf(Kernel kernel) => kernel is MatMulKernel of && calls.TryGetValue((of.Name, of.Stores), out LibraryProduct? found) ? found : null;

        CudaStep WithLibrary(CudaStep step)
        {
            CudaChoice? choice = step as CudaChoice ?? (step is CudaLaunch launch ? new CudaChoice([], launch) : null);
            if (choice is null || CallOf(choice.Otherwise.Kernel) is not { } call)
            {
                return step;
            }

            var kernel = (MatMulKernel)choice.Otherwise.Kernel;
            CudaLaunch? epilogue = call.Raw >= 0 ? Launch(kernel, PtxLibraryProduct.Emit(kernel, call.Raw, program.Counts)) : null;
            return choice with { Library = new CudaLibraryCall(kernel, call, epilogue) };
        }

        CudaLaunch Launch(Kernel kernel, PtxEntry entry)
        {
            // Threads of the grid's first dimension are numbered; of a grid that is higher than a device's may be, all blocks are.
            (int x, int y) = entry.Blocks;
            return (long)x * entry.Threads <= int.MaxValue && (y <= MostRows || (long)x * y <= int.MaxValue)
                ? new CudaLaunch(kernel, entry.Stem, [], entry.Blocks, entry.Threads) { Code = entry, Plan = kernel is MatMulKernel or AttentionKernel ? Plan(kernel) : null, ScratchBytes = entry.Writer.SharedBytes, SharedBytes = entry.Writer.DynamicBytes }
                : throw new DeviceLimitException(FormattableString.Invariant($"{kernel.Name} has {x} x {y} blocks of {entry.Threads} threads, and a device's threads count to {int.MaxValue}"));
        }
    }

    /// <summary>What the device does for a product.</summary>
    public Func<MatMulKernel, CudaProductPlan> Products { get; init; } = kernel => CudaProductPlan.Of(kernel, precision);

    /// <summary>What devices do for a product that have products of four warps; null for the same as others.</summary>
    public Func<MatMulKernel, WarpgroupTiles?> Warpgroups { get; init; } = kernel => WarpgroupTiles.Choose(kernel, precision, products == CudaProducts.CublasLt ? CudaProducts.Automatic : products);

    /// <summary>What the device does for attention; null for the same as in single precision.</summary>
    public Func<Kernel, TensorAttention?> Attention { get; init; } = kernel => TensorAttention.Of(kernel, precision);

    private CudaKernelPlan? Plan(Kernel kernel) => kernel is MatMulKernel product ? Rounded(Products(product)) : Attention(kernel);

    private CudaProductPlan Rounded(CudaProductPlan plan) => plan is TensorTiles { Precision: CudaPrecision.BF16 } tiles ? tiles with { Rounding = Rounding } : plan;

    /// <summary>Decides where blocks meet that stay, once a program's buffers have their places, and writes the entries of such blocks.</summary>
    public CudaProgram Place(CudaProgram program)
    {
        program = program with { Steps = [.. program.Steps.Select(step => step is CudaTogether together ? together with { Steps = CudaMeetings.Insert(together.Steps) } : step)] };
        foreach (CudaTogether together in program.Steps.OfType<CudaTogether>())
        {
            int kernels = CudaProgram.LaunchesOf(together.Steps).Count();
            _together.Append('\n').Append(PtxTogether.Emit(together, program.Program.Counts).Entry(together.Entry, FormattableString.Invariant($"{kernels} kernels, one after the other."), together.Threads, blocksOfProcessor: CudaGrouping.LeastBlocksOfProcessor));
        }

        return program;
    }

    /// <summary>A step whose kernels have names in the module: those of entries, or of functions.</summary>
    private CudaStep Named(CudaStep step, Part part)
    {
        switch (step)
        {
            case CudaLoop loop:
                return loop with { Body = [.. loop.Body.Select(s => Named(s, part))] };
            case CudaTogether together:
                together = together with { Entry = Unused("Together_" + together.Entry), Steps = [.. together.Steps.Select(s => Named(s, Part.Function))] };
                _entries.Add(together.Entry);
                _scratch = Math.Max(_scratch, together.SharedBytes);
                return together;
            case CudaChoice choice:
                CudaLibraryCall? call = choice.Library is { Epilogue: { } epilogue } ? choice.Library with { Epilogue = Named(epilogue, Part.Entry) } : choice.Library;
                return new CudaChoice([.. choice.Warpgroups.Select(launch => Named(launch, Part.Warpgroups))], Named(choice.Otherwise, part)) { Library = call };
            case CudaForLibrary { Launch: var launch }:
                return new CudaForLibrary(Named(launch, Part.Entry));
            default:
                return Named((CudaLaunch)step, part);
        }
    }

    private CudaLaunch Named(CudaLaunch launch, Part part)
    {
        (string name, IReadOnlyList<string> parameters) = Named(launch.Code!, part);
        return launch with { Entry = name, Parameters = parameters, Code = null, Draw = parameters.Contains("draw") ? ++_draws : 0, Blocks = Folds(launch.Code!, part) ? (launch.Blocks.X * launch.Blocks.Y, 1) : launch.Blocks };
    }

    private (string Name, IReadOnlyList<string> Parameters) Named(PtxEntry entry, Part part)
    {
        const string Placeholder = "ENTRY";
        int width = Folds(entry, part) ? entry.Blocks.X : 0;
        string body = entry.Writer.Entry(Placeholder, "", entry.Threads, width);
        if (!_names.TryGetValue((body, part), out (string Name, IReadOnlyList<string> Parameters) named))
        {
            named = (Unused(entry.Stem), [.. entry.Writer.Parameters]);
            if (part == Part.Function)
            {
                _functions.Append('\n').Append(entry.Writer.Function(named.Name, entry.Comment, PtxTogether.Scratch, out IReadOnlyList<string> parameters));
                named.Parameters = parameters;
                _scratch = Math.Max(_scratch, entry.Writer.SharedBytes);
            }
            else
            {
                (part == Part.Entry ? _entries : _warpgroupEntries).Add(named.Name);
                _sharedBytes[named.Name] = entry.Writer.DynamicBytes;
                (part == Part.Entry ? _text : _warpgroups).Append('\n').Append(entry.Writer.Entry(named.Name, entry.Comment, entry.Threads, width));
            }

            _names.Add((body, part), named);
        }

        return named;
    }

    /// <summary>Whether an entry's grid is laid out along its first dimension, being higher than the second one may be.</summary>
    private bool Folds(PtxEntry entry, Part part) => part != Part.Function && entry.Blocks.Y > MostRows;

    private string Unused(string stem)
    {
        string name = stem;
        for (int i = 2; !_taken.Add(name); i++)
        {
            name = FormattableString.Invariant($"{stem}_v{i}");
        }

        return name;
    }
}
