using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Kernels;
using ModelGen.Compiler.Ops;

namespace ModelGen.Compiler.Targets.Cpu;

/// <summary>
/// Up to how many rows a product is one of dot products that a run may bring any number of rows to: unpacking and packing the weights pays only
/// where enough rows meet them, and so do tiles, which are computed whole. Nothing of it depends on the number of workers.
/// </summary>
internal static class FewRows
{
    // Costs of an element of weights, in multiply-adds of a full register tile, as measured with matrices of 2048 × 2048 to 2048 × 8192 of each format: of a row that meets it, of two rows that
    // meet it together where there are registers for two, for each, and of unpacking and packing it.
    private static readonly Dictionary<StorageFormat, (double Alone, double Together, double Pack)> Costs = new()
    {
        [StorageFormat.Float32] = (3, 1.5, 20),
        [StorageFormat.Float16] = (2.3, 1.7, 20),
        [StorageFormat.BFloat16] = (1.85, 1.25, 12),
    };

    // The sums of a vector's lanes, for each dot product.
    private const double LaneSums = 40;

    /// <summary>The lanes of vectors of which there are registers enough for two rows that meet the same weights.</summary>
    public const int PairedLanes = 16;

    // Smaller weights are packed in some microseconds, for which a second way through the kernel is not worth its text.
    private const long LeastWeights = 1 << 16;

    /// <summary>The most rows that are looked at.</summary>
    private const int Limit = 32;

    /// <summary>The most rows of each product that are dot products, for each of <see cref="RegisterTile.Products"/>; products of which there are none are left out.</summary>
    /// <param name="program">The kernels.</param>
    /// <param name="panels">The products whose right operands are packed ahead.</param>
    /// <param name="readers">For each product whose result may be stored in panels, the one that reads it: both take the same rows for few.</param>
    /// <param name="caches">What blocks are sized for.</param>
    public static IReadOnlyDictionary<MatMulKernel, int[]> Find(KernelProgram program, IReadOnlyDictionary<Kernel, View> panels, IReadOnlyDictionary<MatMulKernel, MatMulKernel> readers, CacheSizes caches)
    {
        Dictionary<MatMulKernel, int[]> most = program.Kernels.SelectMany(k => k.Leaves).OfType<MatMulKernel>().Where(k => MayBeDots(k) && !panels.ContainsKey(k))
            .ToDictionary(k => k, k => RegisterTile.Products.Select(t => Most(k, t, caches)).ToArray());
        bool changes = true;
        while (changes)
        {
            changes = false;
            foreach (KeyValuePair<MatMulKernel, MatMulKernel> pair in readers)
            {
                for (int i = 0; i < RegisterTile.Products.Length; i++)
                {
                    int fewest = Math.Min(At(pair.Key, i), At(pair.Value, i));
                    changes |= Lower(pair.Key, i, fewest) | Lower(pair.Value, i, fewest);
                }
            }
        }

        return most.Where(m => m.Value.Any(n => n > 0)).ToDictionary(m => m.Key, m => m.Value);

        int At(MatMulKernel kernel, int width) => most.TryGetValue(kernel, out int[]? own) ? own[width] : 0;

        bool Lower(MatMulKernel kernel, int width, int count)
        {
            if (At(kernel, width) <= count)
            {
                return false;
            }

            most[kernel][width] = count;
            return true;
        }
    }

    /// <summary>Whether rows that a run brings along meet many weights that lie in rows as well, which fill a vector of any width.</summary>
    private static bool MayBeDots(MatMulKernel kernel)
        => kernel is { Form: MatMulForm.NT, RowByRow: false, Rows.IsDynamic: true } && kernel.Depth >= RegisterTile.Products[0].Lanes && (long)kernel.Columns * kernel.Depth >= LeastWeights && kernel.Operands[0].Access is { RowStride: > 0, Format.IsPlain: true }
            && !kernel.Operands[1].Access.Format.IsInGroups;

    private static int Most(MatMulKernel kernel, RegisterTile tile, CacheSizes caches)
    {
        if (!Costs.TryGetValue(kernel.Operands[1].Access.Format, out (double Alone, double Together, double Pack) costs))
        {
            return 0;
        }

        // What memory takes for the weights is the same either way.
        MatMulBlocking blocking = MatMulBlocking.Of(kernel, isRightPacked: false, tile, caches);
        double dot = (tile.Lanes == PairedLanes ? costs.Together : costs.Alone) + (LaneSums / kernel.Depth);
        int rows = 1;
        while (rows <= Math.Min(Limit, kernel.Rows.Maximum) && rows * dot < (blocking.Division == MatMulDivision.Transposed ? Whole(rows, tile.Lanes) : costs.Pack + Whole(rows, blocking.Height)))
        {
            rows++;
        }

        return rows - 1;
    }

    private static int Whole(int count, int unit) => (count + unit - 1) / unit * unit;
}
