using System;
using System.Collections.Generic;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// How a kernel divides a worker's own memory: named parts, one after the other. The same record says how much there must be and where
/// a kernel's text finds each part, so that the two cannot differ.
/// </summary>
internal sealed class ScratchLayout
{
    private readonly Dictionary<string, long> _offsets = [];

    private ScratchLayout(IEnumerable<(string Name, long Elements)> parts)
    {
        foreach ((string name, long elements) in parts)
        {
            if (elements > 0)
            {
                _offsets.Add(name, Elements);
                Elements = checked(Elements + elements);
            }
        }
    }

    /// <summary>None.</summary>
    public static ScratchLayout Empty { get; } = new([]);

    /// <summary>Everything, in 4-byte elements.</summary>
    public long Elements { get; }

    /// <summary>Lays parts out in their order; those of no elements are not there.</summary>
    public static ScratchLayout Of(params (string Name, long Elements)[] parts) => new(parts);

    /// <summary>Whether there is such a part.</summary>
    public bool Has(string part) => _offsets.ContainsKey(part);

    /// <summary>The elements before a part.</summary>
    public long OffsetOf(string part) => _offsets.TryGetValue(part, out long offset) ? offset : throw new InvalidOperationException($"the kernel has no scratch memory called {part}");
}
