using System;
using System.Collections.Generic;
using System.Linq;
using ModelGen.Compiler.Graph;

namespace ModelGen.Compiler.Ops;

/// <summary>
/// The recurrence in chunks (Dao and Gu 2024, section 6; Yang et al. 2024, section 3.3). With the sums G of a chunk's log decays up to each step, the state S that it begins with, and the matrices Q, K, V of its steps,
/// what they take in is U = V, or, corrected, (I + A)⁻¹ diag(β) (V − diag(eᴳ) K S) with A = diag(β) (KKᵀ ⊙ eᴳⁱ⁻ᴳʲ) below the diagonal; they read O = diag(eᴳ) Q S + (QKᵀ ⊙ eᴳⁱ⁻ᴳʲ) U up to the diagonal, and
/// the next chunk begins with e^Gₙ S + (diag(e^(Gₙ−G)) K)ᵀ U. The chunks of all heads of all sequences stand behind each other, so that each is a few products of matrices; a head's last one leaves zeros.
/// </summary>
internal sealed partial record LinearRecurrence
{
    private Value InChunks(GraphBuilder b, string name, IReadOnlyList<Value> inputs)
    {
        Shape keys = inputs[1].Shape, values = inputs[2].Shape;
        Require(keys[0].IsLiteral && keys[1].IsLiteral, $"chunks of a varying number of steps: {keys}");
        (int batch, int time, int groups, int heads) = (keys[0].Maximum, keys[1].Maximum, keys[2].Maximum, values[2].Maximum);
        int chunks = (time + Chunk - 1) / Chunk, all = batch * heads * chunks;

        // [B, T, ..] to steps that fill chunks up: what is added takes nothing in, forgets nothing, and is not read.
        Value Filled(string of, Value value)
        {
            Value flat = b.Add(new Reshape(Shape.Of(batch, time, checked((int)(value.Shape.MaximumElements / (batch * (long)time))))), $"{name}.{of}.flat", value);
            return chunks * Chunk == time ? flat : b.Add(new PadSteps(0, chunks * Chunk), $"{name}.{of}.filled", flat);
        }

        // The chunks of each head, [B · H · N, C, width].
        Value Chunks(string of, Value value, int own, int width)
        {
            Value steps = b.Add(new Reshape(Shape.Of(batch, chunks, Chunk, own, 1, width)), $"{name}.{of}.steps", Filled(of, value));
            Value each = own == heads ? steps : b.Add(new BroadcastTo(Shape.Of(batch, chunks, Chunk, own, heads / own, width)), $"{name}.{of}.shared", steps);
            Value ordered = b.Add(new Permute([0, 3, 4, 1, 2, 5]), $"{name}.{of}.heads", each);
            return b.Add(new Reshape(Shape.Of(all, Chunk, width)), $"{name}.{of}.chunks", ordered);
        }

        var masks = new ChunkMasks(b, name, Chunk);
        Value q = Chunks("q", inputs[0], groups, keys.Columns), k = Chunks("k", inputs[1], groups, keys.Columns), v = Chunks("v", inputs[2], heads, values.Columns);

        // Sums of the logarithms up to each step, in two orders, and the last of them.
        Value logs = b.Add(new Reshape(Shape.Of(all, Chunk)), name + ".log.rows", Chunks("log", inputs[3], heads, 1));
        Value sums = b.Add(new MatMul(MatMulForm.NT), name + ".log.sums", logs, masks.UpTo);
        Value down = b.Add(new Reshape(Shape.Of(all, Chunk, 1)), name + ".log.down", sums), across = b.Add(new Reshape(Shape.Of(all, 1, Chunk)), name + ".log.across", sums);
        Value total = b.Add(new Reshape(Shape.Of(all, 1, 1)), name + ".log.total", b.Add(new SliceColumns(Chunk - 1, 1), name + ".log.last", sums));
        Value fromStart = b.Add(new Exp(), name + ".decay.from_start", down);
        Value toEnd = b.Add(new Exp(), name + ".decay.to_end", b.Add(new Subtract(), name + ".log.to_end", total, down));
        Value apart = b.Add(new Where(), name + ".log.apart", masks.NotBehind, b.Add(new Subtract(), name + ".log.difference", down, across), b.Add(new Constant(-1e30, Shape.Scalar), ""));
        List<Value> sequences =
        [
            q, k, v,
            b.Add(new Exp(), name + ".decay", apart),
            b.Add(new Multiply(), name + ".q.decayed", q, fromStart),
            b.Add(new Multiply(), name + ".k.kept", k, toEnd),
            b.Add(new Exp(), name + ".decay.total", total),
            masks.NotLast(batch * heads, chunks),
        ];
        if (inputs.Count == 5)
        {
            sequences.AddRange([Chunks("beta", inputs[4], heads, 1), b.Add(new Multiply(), name + ".k.decayed", k, fromStart)]);
        }

        Value[] invariants = inputs.Count == 5 ? [masks.Diagonal, .. masks.Halves] : [];
        Shape state = Shape.Of(keys[3], values[3]);
        var scan = new Scan(ChunkStep(name, state, sequences, invariants), all, Reverse: false, Carries: 1, sequences.Count);
        Value read = b.AddMany(scan, name, [b.Add(new Constant(0, state), name + ".start"), .. sequences, .. invariants])[scan.Sequence(0)];
        Value ofHeads = b.Add(new Permute([0, 2, 3, 1, 4]), name + ".read.steps", b.Add(new Reshape(Shape.Of(batch, heads, chunks, Chunk, values[3])), name + ".read.chunks", read));
        Value filled = b.Add(new Reshape(Shape.Of(batch, chunks * Chunk, heads * values.Columns)), name + ".read.filled", ofHeads);
        return b.Add(new Reshape(values), name + ".read", chunks * Chunk == time ? filled : b.Add(new SliceSteps(0, time), name + ".read.flat", filled));
    }

    private static ModelGraph ChunkStep(string name, Shape state, IReadOnlyList<Value> sequences, IReadOnlyList<Value> invariants)
    {
        var b = new GraphBuilder();
        Value[] step = [.. sequences.Select((s, i) => b.Add(new BodyInput(BodyInputKind.Sequence, i, TensorType.Float(s.Shape.DropFirst())), s.Name))];
        Value[] fixedOnes = [.. invariants.Select((s, i) => b.Add(new BodyInput(BodyInputKind.Invariant, i, s.Type), s.Name))];
        (Value q, Value k, Value v, Value decay, Value late, Value kept, Value total, Value notLast) = (step[0], step[1], step[2], step[3], step[4], step[5], step[6], step[7]);
        Value Times(string what, Value x, Value y) => b.Add(new Multiply(), $"{name}.{what}", x, y);
        Value Product(MatMulForm form, string what, Value x, Value y) => b.Add(new MatMul(form), $"{name}.{what}", x, y);
        Value before = b.Add(new BodyInput(BodyInputKind.Carry, 0, TensorType.Float(state)), name + ".state");
        Value taken = v;
        if (step.Length > 8)
        {
            (Value beta, Value early) = (step[8], step[9]);
            Value known = Product(MatMulForm.NN, "known", early, before);
            Value errors = Times("errors", b.Add(new Subtract(), name + ".error", v, known), beta);

            // (I + A)⁻¹ of A below the diagonal: of blocks of twice the size, the lower left corner is what the two halves' inverses make of A's.
            Value own = Times("own", Times("keys.decayed", Product(MatMulForm.NT, "keys", k, k), decay), beta);
            Value inverse = default;
            for (int i = 1; i < fixedOnes.Length; i++)
            {
                Value corners = b.Add(new Where(), name + ".corners", fixedOnes[i], own, b.Add(new Constant(0, Shape.Scalar), ""));
                inverse = i == 1 ? b.Add(new Subtract(), name + ".inverse", fixedOnes[0], corners)
                    : b.Add(new Subtract(), name + ".inverse", inverse, Product(MatMulForm.NN, "corner", inverse, Product(MatMulForm.NN, "corner.right", corners, inverse)));
            }

            taken = fixedOnes.Length == 1 ? errors : Product(MatMulForm.NN, "taken", inverse, errors);
        }

        Value inside = Product(MatMulForm.NN, "inside", Times("scores.decayed", Product(MatMulForm.NT, "scores", q, k), decay), taken);
        Value read = b.Add(new Add(), name + ".read", Product(MatMulForm.NN, "past", late, before), inside);
        Value next = b.Add(new Add(), name + ".state.sum", Times("state.kept", before, total), Product(MatMulForm.TN, "added", kept, taken));
        b.Output("state", b.Add(new Where(), name + ".state.next", notLast, next, b.Add(new Constant(0, Shape.Scalar), "")));
        b.Output("read", read);
        return b.Build();
    }

    /// <summary>Matrices [C, C] of ones where a step i, down, and a step j, across, stand to each other in some way.</summary>
    private sealed class ChunkMasks(GraphBuilder b, string name, int steps)
    {
        private Value Zero => b.Add(new Constant(0, Shape.Of(1, 1)), "");

        /// <summary>The numbers of steps, [1, C].</summary>
        private Value Across => b.Add(new ColumnIndices(steps), name + ".across", Zero);

        /// <summary>i − j + 1, which is more than 0 where j is not behind i.</summary>
        public Value NotBehind => b.Add(new Affine(-1, 1), name + ".not_behind", b.Add(new ColumnIndices(steps), name + ".distance", b.Add(new Affine(-1, 0), name + ".down.negative", Down(Across))));

        /// <summary>Ones up to the diagonal.</summary>
        public Value UpTo => Ones(name + ".up_to", NotBehind);

        /// <summary>Ones on the diagonal.</summary>
        public Value Diagonal => b.Add(new Where(), name + ".diagonal", Same(Down(Across), Across), b.Add(new Constant(1, Shape.Scalar), ""), b.Add(new Constant(0, Shape.Scalar), ""));

        /// <summary>For blocks of 2, 4, 8, … steps, where i is in the second half of a block and j in the first one.</summary>
        public Value[] Halves
        {
            get
            {
                int largest = 1;
                while (largest < steps)
                {
                    largest *= 2;
                }

                // From the largest blocks on, the place in a block tells in which half a step is, and is less by a half there.
                var masks = new Stack<Value>();
                Value place = Across;
                for (int half = largest / 2; half > 0; half /= 2)
                {
                    Value second = Ones(name + ".second_half", b.Add(new Affine(1, 1 - half), name + ".half", place));
                    Value first = b.Add(new Subtract(), name + ".block", Across, place);
                    Value apart = b.Add(new Multiply(), name + ".halves", Down(second), b.Add(new Affine(-1, 1), name + ".first_half", second));
                    masks.Push(b.Add(new Where(), name + ".corner.mask", Same(Down(first), first), apart, b.Add(new Constant(0, Shape.Scalar), "")));
                    place = b.Add(new Subtract(), name + ".place", place, b.Add(new Affine(half, 0), name + ".half.steps", second));
                }

                return [.. masks];
            }
        }

        /// <summary>Zeros for the last chunk of each head, ones for the others: [heads · chunks, 1, 1].</summary>
        public Value NotLast(int heads, int chunks)
        {
            Value row = b.Add(new ColumnIndices(chunks), name + ".chunk", Zero);
            Value ones = Ones(name + ".not_last.row", b.Add(new Affine(-1, chunks - 1), name + ".chunks.behind", row));
            return b.Add(new Reshape(Shape.Of(heads * chunks, 1, 1)), name + ".not_last", b.Add(new BroadcastTo(Shape.Of(heads, chunks)), name + ".not_last.heads", ones));
        }

        private Value Ones(string what, Value where) => b.Add(new Where(), what, where, b.Add(new Constant(1, Shape.Scalar), ""), b.Add(new Constant(0, Shape.Scalar), ""));

        private Value Down(Value row) => b.Add(new Reshape(Shape.Of(steps, 1)), name + ".down", row);

        private Value Same(Value down, Value across)
        {
            Value difference = b.Add(new Subtract(), name + ".apart", down, across);
            return b.Add(new Affine(-1, 0.5), name + ".same", b.Add(new Multiply(), name + ".apart.squared", difference, difference));
        }
    }
}
