using System.Runtime.InteropServices;
using ModelGen.Runtime;

namespace ModelGen;

public abstract unsafe partial class ModelSession
{
    /// <summary>Whether all that is kept of a sequence grows by a row with each step, up to the last one: a cache of fewer rows is a ring.</summary>
    private protected bool GrowsByRows => !PlanLayout.HasOtherStates && Array.TrueForAll(PlanLayout.Caches, cache => PlanLayout.ContextLength > 0 && cache.Rows >= PlanLayout.ContextLength);

    /// <summary>Takes a sequence back to an earlier step, inside of a call's section.</summary>
    private protected void RewindTo(int position, int row)
    {
        CheckRow(row);
        int held = _positions[row];
        if (position < 0 || position > held)
        {
            throw new ArgumentOutOfRangeException(nameof(position), position, FormattableString.Invariant($"The sequence has {held} steps, of which 0 to {held} can be kept."));
        }

        if (position == 0)
        {
            Clear(row);
            return;
        }

        if (!GrowsByRows && position < held)
        {
            throw new InvalidOperationException($"What {PlanLayout.ModelName} keeps of a sequence has forgotten its earlier steps: it can be taken back to a state that was captured, or be emptied.");
        }

        // Rows behind the position are zeros.
        foreach (StateCache cache in PlanLayout.Caches)
        {
            long start = cache.Offset + (cache.RowBytes * Math.Min(position, cache.Rows)), end = cache.Offset + (cache.RowBytes * Math.Min(held, cache.Rows));
            if (_cuda is not null)
            {
                _cuda.ClearState(row, start, end - start);
            }
            else
            {
                NativeMemory.Clear((byte*)StateOf(row) + start, (nuint)(end - start));
            }
        }

        _positions[row] = position;
        Forget(row);
    }

    /// <summary>Copies what the session holds of a sequence, inside of a call's section.</summary>
    private protected SessionState CaptureState(int row)
    {
        CheckRow(row);
        byte[] bytes = new byte[PlanLayout.PackedStateBytes(_positions[row])];
        fixed (byte* packed = bytes)
        {
            Pack(row, packed, _positions[row], isRestored: false);
        }

        return new SessionState(PlanLayout.ModelName, FileMetadata.Of(_weights.Table), _positions[row], bytes);
    }

    /// <summary>Lets a sequence go on from a state, inside of a call's section.</summary>
    private protected void RestoreState(SessionState state, int row)
    {
        CheckRow(row);
        state.CheckFit(PlanLayout, _weights.Table.Declaration, nameof(state));
        Clear(row);
        fixed (byte* packed = state.Bytes)
        {
            Pack(row, packed, state.Position, isRestored: true);
        }

        _positions[row] = state.Position;
    }

    // The states of a sequence without the rows of caches behind its position, one after another, from the session or to it.
    private void Pack(int row, byte* packed, int position, bool isRestored)
    {
        long at = 0;
        foreach (StateCache cache in PlanLayout.Caches)
        {
            Copy(at, cache.Offset - at);
            Copy(cache.Offset, cache.RowBytes * Math.Min(position, cache.Rows));
            at = cache.Offset + (cache.RowBytes * cache.Rows);
        }

        Copy(at, PlanLayout.StateBytes - at);

        void Copy(long offset, long bytes)
        {
            if (_cuda is not null)
            {
                _cuda.CopyState(row, offset, packed, bytes, toDevice: isRestored);
            }
            else
            {
                byte* held = (byte*)StateOf(row) + offset;
                NativeMemory.Copy(isRestored ? packed : held, isRestored ? held : packed, (nuint)bytes);
            }

            packed += bytes;
        }
    }
}
