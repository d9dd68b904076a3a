using System;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using ModelGen.Runtime;

namespace ModelGen.Leaf;

/// <summary>
/// Carries out the commands of an image: a block of memory that holds everything that they read and write. The same program runs the
/// same image on every processor, and the memory afterwards is compared.
/// </summary>
public static unsafe class Interpreter
{
    [UnmanagedCallersOnly(EntryPoint = "leaf_run")]
    public static void RunExported(byte* image) => Run(image);

    public static void Run(byte* image)
    {
        ImageHeader* header = (ImageHeader*)image;
        Command* commands = (Command*)(image + header->CommandsOffset);
        for (long i = 0; i < header->CommandCount; i++)
        {
            Command* command = commands + i;
            switch (command->Kind)
            {
                case CommandKind.Copy:
                    new Span<byte>(image + command->From, (int)command->Length).CopyTo(new Span<byte>(image + command->To, (int)command->Length));
                    break;
                case CommandKind.Plan:
                    RunPlan(image, command);
                    break;
                case CommandKind.Function:
                    Apply((ElementaryFunction)command->Which, (float*)(image + command->From), (float*)(image + command->To), command->Length);
                    break;
                case CommandKind.PathName:
                    Write(Simd.PathName, (int*)(image + command->To), command->Length);
                    break;
                case CommandKind.Product:
                    Multiply(image, command);
                    break;
                case CommandKind.CacheRow:
                    KeepRow(image, command);
                    break;
            }
        }
    }

    private static void RunPlan(byte* image, Command* command)
    {
        PlanContext context = default;
        context.Weights = (float*)(image + command->Weights);
        context.Gradients = (float*)(image + command->Gradients);
        context.Arena = (float*)(image + command->Arena);
        context.State = (float*)(image + command->State);
        context.Count = command->Count;
        context.Position = command->Position;
        context.Seed = command->Seed;
        context.LossNormalizer = command->LossNormalizer;
        context.GradientScale = command->GradientScale;
        context.Accumulate = command->Accumulate != 0;
        Plans.Run(command->Which, in context, new Worker(image + command->Scratch, command->ScratchBytes));
    }

    private static void Write(string text, int* characters, long length)
    {
        for (int i = 0; i < length; i++)
        {
            characters[i] = i < text.Length ? text[i] : 0;
        }
    }

    private static void Apply(ElementaryFunction function, float* x, float* y, long length)
    {
        for (long i = 0; i < length; i += 4)
        {
            Vector128<float> v = Vector128.Load(x + i);
            Vector128<float> f = function switch
            {
                ElementaryFunction.Exp => VectorMath.Exp(v),
                ElementaryFunction.Log => VectorMath.Log(v),
                ElementaryFunction.Tanh => VectorMath.Tanh(v),
                ElementaryFunction.Sigmoid => VectorMath.Sigmoid(v),
                _ => VectorMath.Erf(v),
            };
            Vector128.Store(f, y + i);
        }
    }

    /// <summary>Rounds rows of weights to blocks, as a file of a format has them. It is called where the image is made.</summary>
    public static void Store(int format, float* values, int count, byte* target)
    {
        GgmlType type = BlockRows.TypeOf((WeightFormat)format);
        (int elements, int bytes) = GgmlBlocks.Size(type);
        GgmlBlocks.Write(type, new ReadOnlySpan<float>(values, count), new Span<byte>(target, count / elements * bytes));
    }

    /// <summary>The bytes of that many weights in a file, of 16 rows of that many columns in memory, and of an input's row.</summary>
    public static int[] Bytes(int format, int columns)
    {
        (int elements, int bytes) = GgmlBlocks.Size(BlockRows.TypeOf((WeightFormat)format));
        return [columns / elements * bytes, (int)BlockRows.GroupBytes((WeightFormat)format, columns), BlockRows.InputBytes(columns)];
    }

    private static void Multiply(byte* image, Command* command)
    {
        switch ((WeightFormat)command->Which)
        {
            case WeightFormat.Q8_0: Multiply<Q8_0>(image, command); break;
            case WeightFormat.Q4_0: Multiply<Q4_0>(image, command); break;
            case WeightFormat.Q4_1: Multiply<Q4_1>(image, command); break;
            case WeightFormat.Q5_0: Multiply<Q5_0>(image, command); break;
            case WeightFormat.Q5_1: Multiply<Q5_1>(image, command); break;
            case WeightFormat.IQ4_NL: Multiply<IQ4_NL>(image, command); break;
            case WeightFormat.MXFP4: Multiply<MXFP4>(image, command); break;
            case WeightFormat.Q4_K: Multiply<Q4_K>(image, command); break;
            case WeightFormat.Q5_K: Multiply<Q5_K>(image, command); break;
            case WeightFormat.Q6_K: Multiply<Q6_K>(image, command); break;
        }
    }

    private static void Multiply<TFormat>(byte* image, Command* command)
        where TFormat : struct, IBlockFormat
    {
        const int Group = BlockRows.GroupRows;
        int rows = command->Position, columns = command->Count, blocks = columns / BlockRows.BlockColumns, inputBytes = BlockRows.InputBytes(columns);
        byte* group = image + command->Weights, input = image + command->State, unpacked = image + command->Scratch;
        for (int row = 0; row < Group; row++)
        {
            BlockRows.Put((WeightFormat)command->Which, new ReadOnlySpan<byte>(image + command->From + (row * command->Length), (int)command->Length), group, row);
        }

        // At once.
        BlockGroups.TryPut((WeightFormat)command->Which, image + command->From, (int)command->Length, image + command->Gradients);

        float* sums = (float*)(image + command->To);
        for (int row = 0; row < rows; row++)
        {
            BlockRows.Quantize((float*)(image + command->Arena) + (row * columns), columns, input + (row * inputBytes));
            BlockTile.Multiply<F128, TFormat>(input + (row * inputBytes), group, blocks, sums + (row * Group));
        }

        sums += rows * Group;
        BlockTile.Unpack<TFormat>(group, blocks, unpacked);
        BlockTile.MultiplyUnpacked<F128, TFormat>(input, rows, unpacked, blocks, sums);
        if (TFormat.ScaleBytes > 0)
        {
            BlockTile.Multiply<F128, TFormat>(input, rows, group, blocks, sums + (rows * Group));
        }
    }

    private static void KeepRow(byte* image, Command* command)
    {
        float* values = (float*)(image + command->From), read = (float*)(image + command->Arena);
        byte* row = image + command->To;
        if (command->Which == 0)
        {
            CacheRows.StoreF16(values, command->Count, row);
            CacheRows.LoadF16<F128>(row, 0, command->Count, 1, 0, command->Count, read, 0);
        }
        else
        {
            CacheRows.StoreQ8_0(values, command->Count, row);
            CacheRows.LoadQ8_0<F128>(row, 0, command->Count, 1, 0, command->Count, read, 0);
        }
    }
}
