using System.Collections.Generic;
using ModelGen.Compiler.Graph;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Passes;

/// <summary>
/// How many keys and values a sequence has caches for: all of them or, where attention sees a window alone, a ring that holds what the
/// queries of the longest run see.
/// </summary>
/// <param name="Context">The most steps of a sequence; 0 where there is no limit.</param>
/// <param name="Steps">The most steps of a run, of whatever entry point: all of them share the caches.</param>
internal readonly record struct SequenceCaches(int Context, int Steps)
{
    /// <summary>What a query sees, as a range over caches.</summary>
    /// <exception cref="GraphException">Attention sees everything, and a sequence has no end.</exception>
    public KeyRange Cached(KeyRange range)
    {
        bool isRing = range.Window is { } window && (Context == 0 || range.Kept + window + (long)Steps < Context);
        return isRing || Context > 0 ? range with { IsCached = true, IsRing = isRing } : throw new GraphException($"attention{range.Attributes}: a sequence without end has no cache for all its keys");
    }

    /// <summary>
    /// Of the keys and of the values of attention, the name of the first over a range that takes them: it names their cache, which those share that take the same ones.
    /// </summary>
    public static Dictionary<(Value Rows, KeyRange Range), string> Owners(ModelGraph graph)
    {
        var owners = new Dictionary<(Value Rows, KeyRange Range), string>();
        foreach (Node node in graph.NodesOf<Attention>())
        {
            foreach (Value rows in new[] { node.Inputs[1], node.Inputs[2] })
            {
                if (!owners.ContainsKey((rows, ((Attention)node.Op).Range)))
                {
                    owners[(rows, ((Attention)node.Op).Range)] = node.Name;
                }
            }
        }

        return owners;
    }

    /// <summary>Rows of a cache that <see cref="Cached"/> gave the range of.</summary>
    public int Rows(KeyRange cached) => cached.IsRing ? cached.Kept + cached.Window!.Value + Steps : Context;
}
