using System.Buffers.Binary;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;
using System.Text;

namespace ModelGen.ArmTests;

/// <summary>
/// Makes an arm64 core library of an x64 one, as far as leaf code can tell. A core library knows the intrinsics of its own
/// architecture; those of others throw. Their names are all there, so the difference is in three places, and each is
/// changed in the file's bytes without moving any:
/// <list type="number">
/// <item>The compiler takes a type for intrinsic that carries <c>[Intrinsic]</c>. Every class of <c>System.Runtime.Intrinsics.Arm</c> gets
/// one, from an attribute that does not matter.</item>
/// <item><c>IsSupported</c> of the own architecture calls itself, which the compiler answers; that of others returns false. The bodies are exchanged.</item>
/// <item>An embedded list of substitutions lets the trimmer take the other architectures for absent. What it says of Arm is made to name nothing.</item>
/// </list>
/// SVE, which the core library marks as a preview, stays as it is.
/// </summary>
internal sealed class CoreLibraryPatch
{
    private const string ArmNamespace = "System.Runtime.Intrinsics.Arm";
    private const string X86Namespace = "System.Runtime.Intrinsics.X86";
    private const string Question = "get_IsSupported";
    private const byte LoadZero = 0x16;
    private const byte Call = 0x28;
    private const byte Return = 0x2A;

    // Tags of the coded indices in the table of custom attributes, ECMA-335 II.24.2.6.
    private const int ParentTagBits = 5;
    private const uint ParentIsTypeDefinition = 3;
    private const int ConstructorTagBits = 3;
    private const uint ConstructorIsMethodDefinition = 2;

    private readonly byte[] _bytes;
    private readonly PEReader _file;
    private readonly MetadataReader _metadata;
    private readonly Table _attributes;
    private readonly Table _methods;
    private readonly int _parentSize;
    private readonly int _constructorSize;

    private CoreLibraryPatch(byte[] bytes)
    {
        // Read from a copy: what is asked for below is what the library said before it was changed.
        _bytes = bytes;
        _file = new PEReader(new MemoryStream((byte[])bytes.Clone()));
        _metadata = _file.GetMetadataReader();
        _attributes = new Table(_file, _metadata, TableIndex.CustomAttribute);
        _methods = new Table(_file, _metadata, TableIndex.MethodDef);
        _parentSize = CodedIndexSize(ParentTagBits, TableIndex.MethodDef, TableIndex.Field, TableIndex.TypeRef, TableIndex.TypeDef, TableIndex.Param, TableIndex.MemberRef, TableIndex.GenericParam);
        _constructorSize = CodedIndexSize(ConstructorTagBits, TableIndex.MethodDef, TableIndex.MemberRef);
        if (_attributes.RowSize - _parentSize - _constructorSize is not (2 or 4))
        {
            throw new InvalidDataException($"A row of the custom attribute table has {_attributes.RowSize} bytes.");
        }
    }

    /// <summary>Writes the changed library to <paramref name="target"/>.</summary>
    /// <exception cref="InvalidDataException">The library is not built as expected: it is of another version.</exception>
    public static void Apply(string source, string target)
    {
        CoreLibraryPatch patch = new(File.ReadAllBytes(source));
        patch.MarkIntrinsics();
        patch.ExchangeAnswers();
        patch.DropSubstitutions();
        File.WriteAllBytes(target, patch._bytes);
    }

    private void MarkIntrinsics()
    {
        MethodDefinitionHandle constructor = MethodsOf(TypeCalled("System.Runtime.CompilerServices", "IntrinsicAttribute"), ".ctor").First();
        uint intrinsic = ((uint)MetadataTokens.GetRowNumber(constructor) << ConstructorTagBits) | ConstructorIsMethodDefinition;
        int marked = 0;
        foreach (TypeDefinitionHandle handle in TypesOf(ArmNamespace))
        {
            TypeDefinition type = _metadata.GetTypeDefinition(handle);
            if (!type.IsNested)
            {
                // Any attribute of the class: a constructor without parameters ignores the value.
                int attribute = _attributes.Row(MetadataTokens.GetRowNumber(type.GetCustomAttributes().First()));
                Write(attribute + _parentSize, _constructorSize, intrinsic);
            }
            else
            {
                // A nested class has none, but its property carries the one that is wanted.
                MethodDefinition question = _metadata.GetMethodDefinition(MethodsOf(handle, Question).Single());
                int attribute = _attributes.Row(MetadataTokens.GetRowNumber(question.GetCustomAttributes().First()));
                Write(attribute, _parentSize, ((uint)MetadataTokens.GetRowNumber(handle) << ParentTagBits) | ParentIsTypeDefinition);
            }

            marked++;
        }

        if (marked == 0)
        {
            throw new InvalidDataException($"There is no class in {ArmNamespace}.");
        }

        // Readers search the table by parent.
        byte[][] rows = [.. Enumerable.Range(1, _attributes.Count).Select(i => _bytes.AsSpan(_attributes.Row(i), _attributes.RowSize).ToArray()).OrderBy(row => Read(row, 0, _parentSize))];
        for (int i = 0; i < rows.Length; i++)
        {
            rows[i].CopyTo(_bytes, _attributes.Row(i + 1));
        }
    }

    private void ExchangeAnswers()
    {
        MethodDefinitionHandle[] arm = [.. TypesOf(ArmNamespace).SelectMany(type => MethodsOf(type, Question))];
        MethodDefinitionHandle[] x86 = [.. TypesOf(X86Namespace).SelectMany(type => MethodsOf(type, Question)).Where(AsksItself)];
        if (arm.Length == 0 || x86.Length < arm.Length)
        {
            throw new InvalidDataException($"{arm.Length} {Question} of Arm and {x86.Length} of x86 that call themselves.");
        }

        int no = Body(arm[0]);
        if (_bytes[FileOffset(no) + 1] != LoadZero || _bytes[FileOffset(no) + 2] != Return)
        {
            throw new InvalidDataException($"{Question} of {ArmNamespace} does not return false.");
        }

        for (int i = 0; i < arm.Length; i++)
        {
            // A body is a byte of header, the call's opcode, and the token of what is called.
            int yes = Body(x86[i]);
            BinaryPrimitives.WriteInt32LittleEndian(_bytes.AsSpan(FileOffset(yes) + 2), MetadataTokens.GetToken(arm[i]));
            SetBody(arm[i], yes);
        }

        foreach (MethodDefinitionHandle method in x86)
        {
            SetBody(method, no);
        }
    }

    private void DropSubstitutions()
    {
        int found = Rename("fullname=\"System.Runtime.Intrinsics.Arm.", "Arm", "Xrm", except: "Sve") + Rename("fullname=\"System.Runtime.Intrinsics.Vector64\"", "Vector64", "Xector64");
        if (found == 0)
        {
            throw new InvalidDataException("The list of substitutions does not mention Arm.");
        }
    }

    private int Rename(string text, string name, string otherName, string except = "\0")
    {
        byte[] from = Encoding.ASCII.GetBytes(text);
        byte[] to = Encoding.ASCII.GetBytes(text.Replace(name, otherName, StringComparison.Ordinal));
        byte[] excepted = Encoding.ASCII.GetBytes(except);
        int count = 0;
        for (int at = 0; ; at += from.Length)
        {
            int next = _bytes.AsSpan(at).IndexOf(from);
            if (next < 0)
            {
                return count;
            }

            at += next;
            if (!_bytes.AsSpan(at + from.Length).StartsWith(excepted))
            {
                to.CopyTo(_bytes, at);
                count++;
            }
        }
    }

    /// <summary>Whether the body is a call of the method itself and a return.</summary>
    private bool AsksItself(MethodDefinitionHandle method)
    {
        ReadOnlySpan<byte> code = _file.GetMethodBody(Body(method)).GetILBytes();
        return code.Length == 6 && code[0] == Call && code[5] == Return && BinaryPrimitives.ReadInt32LittleEndian(code[1..]) == MetadataTokens.GetToken(method);
    }

    /// <summary>The classes of a namespace that can be asked whether they are supported, nested ones included.</summary>
    private IEnumerable<TypeDefinitionHandle> TypesOf(string namespaceName)
    {
        foreach (TypeDefinitionHandle handle in _metadata.TypeDefinitions)
        {
            TypeDefinition outermost = _metadata.GetTypeDefinition(handle);
            while (outermost.IsNested)
            {
                outermost = _metadata.GetTypeDefinition(outermost.GetDeclaringType());
            }

            if (_metadata.StringComparer.Equals(outermost.Namespace, namespaceName)
                && !_metadata.StringComparer.StartsWith(outermost.Name, "Sve")
                && MethodsOf(handle, Question).Any())
            {
                yield return handle;
            }
        }
    }

    private IEnumerable<MethodDefinitionHandle> MethodsOf(TypeDefinitionHandle type, string name)
        => _metadata.GetTypeDefinition(type).GetMethods().Where(method => _metadata.StringComparer.Equals(_metadata.GetMethodDefinition(method).Name, name));

    private TypeDefinitionHandle TypeCalled(string namespaceName, string name)
        => _metadata.TypeDefinitions.First(handle =>
        {
            TypeDefinition type = _metadata.GetTypeDefinition(handle);
            return _metadata.StringComparer.Equals(type.Namespace, namespaceName) && _metadata.StringComparer.Equals(type.Name, name);
        });

    private int Body(MethodDefinitionHandle method) => _metadata.GetMethodDefinition(method).RelativeVirtualAddress;

    // The address of its body is a method's first column.
    private void SetBody(MethodDefinitionHandle method, int address)
        => BinaryPrimitives.WriteInt32LittleEndian(_bytes.AsSpan(_methods.Row(MetadataTokens.GetRowNumber(method))), address);

    private int FileOffset(int address)
    {
        SectionHeader section = _file.PEHeaders.SectionHeaders[_file.PEHeaders.GetContainingSectionIndex(address)];
        return address - section.VirtualAddress + section.PointerToRawData;
    }

    private int CodedIndexSize(int tagBits, params TableIndex[] tables)
        => tables.Max(_metadata.GetTableRowCount) < 1 << (16 - tagBits) ? 2 : 4;

    private static uint Read(ReadOnlySpan<byte> bytes, int offset, int size)
        => size == 4 ? BinaryPrimitives.ReadUInt32LittleEndian(bytes[offset..]) : BinaryPrimitives.ReadUInt16LittleEndian(bytes[offset..]);

    private void Write(int offset, int size, uint value)
    {
        if (size == 4)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(_bytes.AsSpan(offset), value);
        }
        else
        {
            BinaryPrimitives.WriteUInt16LittleEndian(_bytes.AsSpan(offset), checked((ushort)value));
        }
    }

    /// <summary>Where a metadata table lies in the file. Rows count from one.</summary>
    private readonly struct Table(PEReader file, MetadataReader metadata, TableIndex index)
    {
        private readonly int _start = file.PEHeaders.MetadataStartOffset + metadata.GetTableMetadataOffset(index);

        public int RowSize { get; } = metadata.GetTableRowSize(index);

        public int Count { get; } = metadata.GetTableRowCount(index);

        public int Row(int number) => _start + ((number - 1) * RowSize);
    }
}
