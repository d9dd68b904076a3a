using Google.Protobuf;

namespace ModelGen.EncoderTests;

/// <summary>A tensor of an ONNX file that holds 32-bit floats.</summary>
internal sealed record OnnxTensor(string Name, int[] Shape, ByteString Data);

/// <summary>An operation of an ONNX graph.</summary>
internal sealed record OnnxNode(string Name, string Operation, IReadOnlyList<string> Inputs, IReadOnlyList<string> Outputs);

/// <summary>The constants and operations of an ONNX graph (onnx.proto: ModelProto.graph, GraphProto.node and initializer), read by the wire format.</summary>
internal sealed class OnnxFile
{
    private const int Float = 1;

    public Dictionary<string, OnnxTensor> Tensors { get; } = [];

    public List<OnnxNode> Nodes { get; } = [];

    public static OnnxFile Parse(byte[] model)
    {
        var file = new OnnxFile();
        foreach ((int field, CodedInputStream value) in Messages(new CodedInputStream(model), 7))
        {
            foreach ((int part, CodedInputStream inner) in Messages(value, 1, 5))
            {
                if (part == 1)
                {
                    file.Nodes.Add(Node(inner));
                }
                else if (Tensor(inner) is { } tensor)
                {
                    file.Tensors.Add(tensor.Name, tensor);
                }
            }
        }

        return file;
    }

    private static IEnumerable<(int Field, CodedInputStream Value)> Messages(CodedInputStream input, params int[] fields)
    {
        while (input.ReadTag() is not 0 and uint tag)
        {
            int field = WireFormat.GetTagFieldNumber(tag);
            if (fields.Contains(field))
            {
                yield return (field, input.ReadBytes().CreateCodedInput());
            }
            else
            {
                input.SkipLastField();
            }
        }
    }

    private static OnnxNode Node(CodedInputStream input)
    {
        (string name, string operation, List<string> inputs, List<string> outputs) = ("", "", [], []);
        while (input.ReadTag() is not 0 and uint tag)
        {
            switch (WireFormat.GetTagFieldNumber(tag))
            {
                case 1:
                    inputs.Add(input.ReadString());
                    break;
                case 2:
                    outputs.Add(input.ReadString());
                    break;
                case 3:
                    name = input.ReadString();
                    break;
                case 4:
                    operation = input.ReadString();
                    break;
                default:
                    input.SkipLastField();
                    break;
            }
        }

        return new OnnxNode(name, operation, inputs, outputs);
    }

    private static OnnxTensor? Tensor(CodedInputStream input)
    {
        (string name, int type, List<int> shape, ByteString data) = ("", 0, [], ByteString.Empty);
        while (input.ReadTag() is not 0 and uint tag)
        {
            switch (WireFormat.GetTagFieldNumber(tag))
            {
                case 1 when WireFormat.GetTagWireType(tag) == WireFormat.WireType.Varint:
                    shape.Add((int)input.ReadInt64());
                    break;
                case 1:
                    CodedInputStream packed = input.ReadBytes().CreateCodedInput();
                    while (!packed.IsAtEnd)
                    {
                        shape.Add((int)packed.ReadInt64());
                    }

                    break;
                case 2:
                    type = input.ReadInt32();
                    break;
                case 8:
                    name = input.ReadString();
                    break;
                case 9:
                    data = input.ReadBytes();
                    break;
                default:
                    input.SkipLastField();
                    break;
            }
        }

        return type == Float && data.Length > 0 ? new OnnxTensor(name, [.. shape], data) : null;
    }
}
