using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Kernels;

namespace ModelGen.Compiler.Passes;

/// <summary>When a kernel would run, beside others of the same node.</summary>
internal enum Turn
{
    /// <summary>Before what computes the node: what it needs to be there.</summary>
    Before,

    /// <summary>As what computes the node.</summary>
    Node,

    /// <summary>After what computes the node.</summary>
    After,

    /// <summary>When nothing reads any more what it overwrites: the update of a state.</summary>
    Last,
}

/// <summary>
/// Orders kernels so that every buffer is written before it is read; what runs before what is found from the buffers that kernels read
/// and write. Ties go to the position in the graph, which puts a weight's gradient next to the product that frees its operands.
/// </summary>
internal sealed class Schedule
{
    private readonly List<Entry> _entries = [];

    /// <param name="kernel">What runs.</param>
    /// <param name="position">The position in the graph of the node that it computes.</param>
    /// <param name="turn">When, beside others of that node.</param>
    public void Add(Kernel kernel, int position, Turn turn = Turn.Node) => _entries.Add(new Entry(kernel, position, turn));

    /// <exception cref="GraphException">The kernels wait for each other in a circle.</exception>
    public List<Kernel> Sort()
    {
        Entry[] order = _entries.OrderBy(e => e.Turn == Turn.Last).ThenBy(e => e.Position).ThenBy(e => e.Turn).ToArray();
        Footprint[][] reads = order.Select(e => Footprint.Of(e.Kernel, written: false).ToArray()).ToArray();
        Footprint[][] writes = order.Select(e => Footprint.Of(e.Kernel, written: true).ToArray()).ToArray();
        var writers = new Dictionary<PlanBuffer, List<(int Kernel, Footprint Touched)>>();
        var users = new Dictionary<PlanBuffer, List<(int Kernel, Footprint Touched)>>();
        for (int i = 0; i < order.Length; i++)
        {
            foreach (Footprint written in writes[i].Where(_ => order[i].Turn != Turn.Last))
            {
                Listed(writers, written.View.Buffer).Add((i, written));
                Listed(users, written.View.Buffer).Add((i, written));
            }

            foreach (Footprint read in reads[i])
            {
                Listed(users, read.View.Buffer).Add((i, read));
            }
        }

        var waits = new HashSet<int>[order.Length];
        var followers = new List<int>[order.Length];
        for (int i = 0; i < order.Length; i++)
        {
            waits[i] = [];
            followers[i] = [];
        }

        for (int i = 0; i < order.Length; i++)
        {
            foreach (Footprint read in reads[i])
            {
                Wait(i, writers, read);
            }

            foreach (Footprint written in writes[i].Where(_ => order[i].Turn == Turn.Last))
            {
                Wait(i, users, written);
            }
        }

        var ready = new SortedSet<int>(Enumerable.Range(0, order.Length).Where(i => waits[i].Count == 0));
        var sorted = new List<Kernel>(order.Length);
        while (ready.Count > 0)
        {
            int next = ready.Min;
            ready.Remove(next);
            sorted.Add(order[next].Kernel);
            foreach (int follower in followers[next])
            {
                waits[follower].Remove(next);
                if (waits[follower].Count == 0)
                {
                    ready.Add(follower);
                }
            }
        }

        return sorted.Count == order.Length ? sorted
            : throw new GraphException("the kernels depend on each other in a circle: " + string.Join("; ", order.Where((_, i) => waits[i].Count > 0).Select(e => e.Kernel.Name)));

        void Wait(int kernel, Dictionary<PlanBuffer, List<(int Kernel, Footprint Touched)>> others, Footprint touched)
        {
            foreach ((int other, Footprint part) in others.TryGetValue(touched.View.Buffer, out List<(int Kernel, Footprint Touched)>? list) ? list : [])
            {
                if (!part.IsApartFrom(touched))
                {
                    WaitFor(kernel, other);
                }
            }
        }

        void WaitFor(int kernel, int other)
        {
            if (other != kernel && waits[kernel].Add(other))
            {
                followers[other].Add(kernel);
            }
        }

        static List<(int Kernel, Footprint Touched)> Listed(Dictionary<PlanBuffer, List<(int Kernel, Footprint Touched)>> lists, PlanBuffer buffer)
        {
            if (!lists.TryGetValue(buffer, out List<(int Kernel, Footprint Touched)>? list))
            {
                lists.Add(buffer, list = []);
            }

            return list;
        }
    }

    private sealed record Entry(Kernel Kernel, int Position, Turn Turn);
}
