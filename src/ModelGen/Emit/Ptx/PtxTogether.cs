using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Targets.Cuda;

namespace ModelGen.Compiler.Emit.Ptx;

/// <summary>
/// An entry whose blocks stay and run one kernel after the other. A kernel is a function, which a block calls for every so-manieth of the kernel's own
/// blocks; where a kernel needs what others have computed, all blocks meet (<see cref="CudaMeetings"/>). So every element is computed by the same instructions as in a launch of its own, whatever
/// the number of blocks, and results are the same bits.
/// </summary>
internal static class PtxTogether
{
    /// <summary>Memory that a block's functions share, one after the other.</summary>
    public const string Scratch = "scratch";

    // Weights are asked for ahead of a meeting up to so many bytes, by lines of the cache; a matrix of fewer is there sooner than it is asked for.
    private const int Line = 128;
    private const long LeastAhead = 2048;
    private const long MostAhead = 8L << 20;

    // Of launches with so many meetings blocks look up behind each where weights, gradients, states and arena lie. An assembler that saw these to be the same all along would keep the places of buffers, which layers share,
    // from the first layer to the last: more than there are registers.
    private const int LeastLookedUp = 16;

    /// <summary>
    /// The function in which all threads of all blocks meet: each block adds one to a counter and waits until as many have come as its goal says. Release
    /// and acquire order what lies before and behind; the counter only grows, from the zero that the run's record brings along.
    /// </summary>
    public const string Meet = """
        // All threads of all blocks meet: what was written before is seen behind it.
        .func Meet(
        	.param .u64 counter,
        	.param .u32 goal
        )
        {
        	.reg .b32 %r<3>;
        	.reg .b64 %rd<2>;
        	.reg .pred %p<2>;
        	ld.param.u64 %rd0, [counter];
        	cvta.to.global.u64 %rd1, %rd0;
        	ld.param.u32 %r0, [goal];
        	mov.u32 %r1, %tid.x;
        	bar.sync 0;
        	setp.ne.s32 %p0, %r1, 0;
        	@%p0 bra L1;
        	red.release.gpu.global.add.u32 [%rd1], 1;
        L0:
        	ld.acquire.gpu.global.u32 %r2, [%rd1];
        	setp.lt.u32 %p1, %r2, %r0;
        	@%p1 bra L0;
        L1:
        	bar.sync 0;
        	ret;
        }

        """;

    /// <summary>The entry of steps whose buffers have their places.</summary>
    public static PtxWriter Emit(CudaTogether together, IReadOnlyList<Dim> counts) => new Plan(together, counts).W;

    private sealed class Plan
    {
        private readonly IReadOnlyList<Dim> _counts;
        private readonly string _run;
        private readonly Dictionary<MemorySpace, string> _spaces = [];
        private readonly string _block;
        private readonly string _blocks;
        private readonly string _counter;
        private readonly string _goal;
        private string? _places;

        public Plan(CudaTogether together, IReadOnlyList<Dim> counts)
        {
            _counts = counts;
            _run = W.Parameter(".u64", "run");
            foreach (MemorySpace space in together.Spaces)
            {
                _spaces.Add(space, W.Parameter(".u64", space.ToString().ToLowerInvariant()));
            }

            if (MeetingsOf(together.Steps) >= LeastLookedUp)
            {
                Keep();
            }

            (_block, _blocks) = (W.Special("%ctaid.x"), W.Special("%nctaid.x"));
            _counter = W.Once("add.s64", _run, PtxWriter.Int(RunRecord.Meetings + (4L * together.Number)));
            _goal = W.Register('r');
            W.Set(_goal, "mov.u32", "0");
            Steps(together.Steps, null);
        }

        public PtxWriter W { get; } = new();

        private static int MeetingsOf(IReadOnlyList<CudaStep> steps) => steps.Sum(step => step is CudaLoop loop ? MeetingsOf(loop.Body) : step is CudaMeeting ? 1 : 0);

        /// <summary>Writes down where memory lies, for <see cref="LookUp"/>.</summary>
        private void Keep()
        {
            _places = W.Shared("places", 2 * _spaces.Count);
            W.If(W.Op("setp.eq.s32", W.Special("%tid.x"), "0"), () =>
            {
                foreach ((string address, int i) in _spaces.Values.Select((address, i) => (address, i)))
                {
                    W.Line(FormattableString.Invariant($"st.shared.u64 [{_places}+{8 * i}], {address};"));
                }
            });
            foreach (MemorySpace space in _spaces.Keys.ToList())
            {
                _spaces[space] = W.Op("mov.u64", _spaces[space]);
            }

            W.Barrier();
        }

        private void LookUp()
        {
            foreach ((string address, int i) in _spaces.Values.Select((address, i) => (address, i)))
            {
                W.Set(address, "ld.volatile.shared.u64", FormattableString.Invariant($"[{_places}+{8 * i}]"));
            }
        }

        private void Steps(IReadOnlyList<CudaStep> steps, string? step)
        {
            for (int i = 0; i < steps.Count; i++)
            {
                switch (steps[i])
                {
                    case CudaLoop loop:
                        string count = new PtxKernel(W, loop.Loop, _counts).Extent(loop.Loop.Steps), last = loop.Loop.Reverse ? W.Once("sub.s32", count, "1") : "";
                        W.Remark($"{loop.Loop.Name}: {(loop.Loop.Reverse ? "backwards " : "")}over {loop.Loop.Steps} steps");
                        W.For("0", count, "1", t => Steps(loop.Body, loop.Loop.Reverse ? W.Op("sub.s32", last, t) : t));
                        break;
                    case CudaBarrier when i > 0 && steps[i - 1] is CudaLaunch { IsEverywhere: true, Shares: true }:
                        break;
                    case CudaBarrier:
                        W.Barrier();
                        break;
                    case CudaMeeting:
                        AskFor(steps.Skip(i + 1).TakeWhile(next => next is not (CudaMeeting or CudaLoop)).OfType<CudaLaunch>());

                        W.Set(_goal, "add.s32", _goal, _blocks);
                        W.Call(nameof(Meet), [("b64", _counter), ("b32", _goal)]);
                        if (_places is not null)
                        {
                            LookUp();
                        }

                        break;
                    default:
                        Kernel((CudaLaunch)steps[i], step);
                        break;
                }
            }
        }

        private void Kernel(CudaLaunch launch, string? step)
        {
            (int x, int y) = launch.Blocks;
            W.Remark($"{launch.Kernel.Name}: {launch.Entry}, {x}{(y == 1 ? "" : FormattableString.Invariant($" x {y}"))} blocks{(launch.IsEverywhere ? ", by each block for itself" : "")}");
            if (launch.IsEverywhere)
            {
                // Few blocks, one after the other as they stand: of loops that turn once an assembler keeps what it needs for all of them.
                for (int block = 0; block < x * y; block++)
                {
                    int own = block;
                    Call(launch, step, () => PtxWriter.Int(own % x), () => PtxWriter.Int(own / x));
                }

                return;
            }

            W.For(FirstOf(launch), PtxWriter.Int((long)x * y), _blocks, block => Call(launch, step, () => y == 1 ? block : W.Op("rem.s32", block, PtxWriter.Int(x)), () => y == 1 ? "0" : W.Op("div.s32", block, PtxWriter.Int(x))));
        }

        private void Call(CudaLaunch launch, string? step, Func<string> x, Func<string> y)
        {
            var arguments = new List<(string Type, string Value)>();
            foreach (string parameter in launch.Parameters)
            {
                arguments.Add(parameter switch
                {
                    "run" => ("b64", _run),
                    "draw" => ("b32", PtxWriter.Int(launch.Draw)),
                    "step" => ("b32", step ?? throw new GraphException($"{launch.Kernel.Name} asks for the step of no loop")),
                    PtxWriter.BlockX => ("b32", x()),
                    PtxWriter.BlockY => ("b32", y()),
                    _ when launch.OperandOf(parameter).View is { Buffer.Space: MemorySpace.Block } own => ("b32", W.Op("add.s32", W.Once("mov.u32", Scratch), PtxWriter.Int(own.Buffer.WordOf(own.Offset) * PlanBuffer.WordBytes))),
                    _ => ("b64", AddressOf(launch.OperandOf(parameter).View)),
                });
            }

            W.Call(launch.Entry, arguments);
            if (launch.Shares)
            {
                // The next block's memory is this one's.
                W.Barrier();
            }
        }

        /// <summary>The first of a kernel's blocks that this one takes: where earlier kernels have begun with other blocks, it is those that have no work yet that come first.</summary>
        private string FirstOf(CudaLaunch launch)
        {
            if (launch.First == 0)
            {
                return _block;
            }

            string behind = W.Op("sub.s32", _block, W.Op("rem.s32", PtxWriter.Int(launch.First), _blocks));
            return W.Op("add.s32", behind, W.Op("selp.b32", _blocks, "0", W.Op("setp.lt.s32", behind, "0")));
        }

        private string AddressOf(View view)
        {
            long bytes = view.Buffer.WordOf(view.Offset) * PlanBuffer.WordBytes;
            return bytes == 0 ? _spaces[view.Buffer.Space] : W.Op("add.s64", _spaces[view.Buffer.Space], PtxWriter.Int(bytes));
        }

        /// <summary>Asks for the weights of the kernels up to the next meeting, so that they come while blocks wait for each other.</summary>
        private void AskFor(IEnumerable<CudaLaunch> next)
        {
            long left = MostAhead;
            foreach ((CudaLaunch launch, int operand) in next.Where(launch => launch.Kernel is MatMulKernel).SelectMany(launch => launch.Kernel.Operands.Select((_, operand) => (launch, operand))))
            {
                View view = launch.Kernel.Operands[operand].View;
                long bytes = view.Buffer.Format.Bytes(PtxEmitter.Reach(launch.Kernel, operand) + 1);
                if (view.Buffer.Space != MemorySpace.Weights || bytes < LeastAhead || left < Line)
                {
                    continue;
                }

                bytes = Math.Min(bytes, left);
                left -= bytes;
                string first = W.Once("mad.lo.s32", _block, PtxWriter.Int(PtxEmitter.Threads), W.Special("%tid.x")), threads = W.Once("mul.lo.s32", _blocks, PtxWriter.Int(PtxEmitter.Threads));
                string address = W.Op("cvta.to.global.u64", AddressOf(view));
                W.For(first, PtxWriter.Int((bytes + Line - 1) / Line), threads, line => W.Line($"prefetch.global.L2 [{W.Op("add.s64", address, W.Op("mul.wide.s32", line, PtxWriter.Int(Line)))}];"));
            }
        }
    }
}
